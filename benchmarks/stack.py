"""Starts the simulator and the whole stack on ports and folders of their own, and samples what each role uses."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

_START_SECONDS = 120
_STOP_SECONDS = 60


@dataclass(frozen=True)
class Arrival:
    """One line of the simulator's log."""

    t_ns: int
    phone: str
    status: int


@dataclass
class Usage:
    """CPU seconds and peak resident MiB of a role's processes, their children included."""

    cpu_seconds: float = 0.0
    peak_mib: float = 0.0


@dataclass
class Stack:
    """A running stack. `data` is its folder, `url` the page's address."""

    data: Path
    url: str
    kafka: str
    pids: dict[str, int]
    simulator_log: Path
    usage: dict[str, Usage] = field(default_factory=dict)
    _seen: dict[tuple[str, int], float] = field(default_factory=dict)
    _looking: threading.Lock = field(default_factory=threading.Lock)

    def look(self) -> None:
        """Brings `usage` up to date."""
        with self._looking:
            for name, pid in self.current_pids().items():
                role = name.rpartition("-")[0] or name
                with contextlib.suppress(psutil.NoSuchProcess):
                    _sample(psutil.Process(pid), self.usage.setdefault(role, Usage()), self._seen, name)

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=120)

    def arrivals(self) -> list[Arrival]:
        """Every call that reached the simulator so far, in order."""
        lines = self.simulator_log.read_text(encoding="utf-8").splitlines()
        return [Arrival(**{key: entry[key] for key in ("t_ns", "phone", "status")}) for entry in map(json.loads, lines)]

    def current_pids(self) -> dict[str, int]:
        """The processes as of now: the supervisor writes their ids anew when it starts one again."""
        return {path.stem: int(path.read_text().split()[0]) for path in (self.data / "run").glob("*.pid")}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def simulator(
    folder: Path, *, latency_ms: int, limit: int = 10, window_seconds: float = 1.0
) -> Iterator[tuple[str, Path]]:
    """The lookup API: its address and its log."""
    port, log = free_port(), folder / "simulator.jsonl"
    log.touch()
    command = [sys.executable, "-m", "deploy.local.simulator", "--port", str(port), "--log", str(log)]
    command += ["--latency-ms", str(latency_ms), "--limit", str(limit)]
    command += ["--window-seconds", str(window_seconds)]
    with (folder / "simulator.out").open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            _wait_for_port(port, process)
            yield f"http://127.0.0.1:{port}/lookup", log
        finally:
            process.terminate()


def _wait_for_port(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the process ended with {process.returncode} before it listened")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port}")


@contextlib.contextmanager
def stack(
    folder: Path,
    *,
    latency_ms: int = 50,
    limit: int = 10,
    window_seconds: float = 1.0,
    scale: str = "worker=1,gate=1",
    env: dict[str, str] | None = None,
) -> Iterator[Stack]:
    """The whole stack with a simulator of its own; everything is stopped at the end.

    `limit` and `window_seconds` are the simulator's; `env` tells the stack its own.
    """
    data = folder / "data"
    simulated = simulator(folder, latency_ms=latency_ms, limit=limit, window_seconds=window_seconds)
    with simulated as (lookup_url, log):
        command = [sys.executable, "-m", "deploy.local", "up", "--port", str(free_port()), "--data", str(data)]
        command += ["--kafka-port", str(free_port()), "--lookup-url", lookup_url, "--scale", scale]
        with (folder / "up.out").open("wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, env=os.environ | (env or {}))
        try:
            ready = _wait_until_ready(data / "run" / "ready.json", process)
            running = Stack(data, ready["url"], ready["kafka"], ready["pids"], log)
            with _sampling(running):
                yield running
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(_STOP_SECONDS)


def _wait_until_ready(ready: Path, process: "subprocess.Popen[bytes]") -> dict[str, Any]:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the stack ended with {process.returncode} before it was ready")
        if ready.exists():
            loaded: dict[str, Any] = json.loads(ready.read_text(encoding="utf-8"))
            return loaded
        time.sleep(0.1)
    raise TimeoutError("the stack was not ready in time")


@contextlib.contextmanager
def _sampling(running: Stack) -> Iterator[None]:
    """Keeps `running.usage` up to date, four times a second."""
    stop = threading.Event()

    def look_until_stopped() -> None:
        while not stop.wait(0.25):
            running.look()

    running.look()
    thread = threading.Thread(target=look_until_stopped, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _sample(process: psutil.Process, usage: Usage, seen: dict[tuple[str, int], float], name: str) -> None:
    family = [process, *process.children(recursive=True)]
    resident = 0
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = member.cpu_times()
            key = (name, member.pid)
            usage.cpu_seconds += times.user + times.system - seen.get(key, 0.0)
            seen[key] = times.user + times.system
            resident += member.memory_info().rss
    usage.peak_mib = max(usage.peak_mib, resident / 2**20)

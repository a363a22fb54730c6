"""Owns one child process through its lives: started with its log, started again when it dies, stopped at the end."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

_TETHER = Path(__file__).with_name("tether.py")
_CHECKOUT = Path(__file__).parents[3]
_LARGEST_LOG_BYTES = 16 * 1024 * 1024
_FIRST_BACKOFF_SECONDS = 0.5
_LONGEST_BACKOFF_SECONDS = 30.0
_HEALTHY_SECONDS = 60.0
"""A life this long proves that the next failure is a new one: the backoff begins anew."""


@dataclass(frozen=True, slots=True)
class Part:
    """What to run as `name` (`gate-1`). `death_signal` is sent to it when the supervisor is killed."""

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    death_signal: signal.Signals = signal.SIGKILL

    @property
    def role(self) -> str:
        return self.name.rpartition("-")[0]


def backoff_seconds(failures: int) -> float:
    """How long to wait before the start that follows this many failures in a row: half a second, doubled up to 30."""
    return float(min(_LONGEST_BACKOFF_SECONDS, _FIRST_BACKOFF_SECONDS * 2.0 ** min(failures - 1, 10)))


class Child:
    """A part that is kept running until `stop`. `on_start` is told of every new life."""

    def __init__(self, part: Part, *, log: Path, say: Callable[[str], None], on_start: Callable[[Part, int], None]):
        self.part = part
        self.deaths = 0
        self.log = log
        self._say = say
        self._on_start = on_start
        self._process: Process | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """None between two lives."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def start(self) -> None:
        """Starts the first life, and keeps the part running from then on."""
        await self._spawn()
        self._keeper = asyncio.create_task(self._keep_running())

    async def stop(self, *, grace_seconds: float) -> None:
        """Ends it by SIGTERM, after the grace by SIGKILL, and waits until it is gone."""
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper
        if self._process is None or self._process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(grace_seconds):
                await self._process.wait()
        except TimeoutError:
            self._say(f"{self.part.name} (pid {self._process.pid}) did not stop in {grace_seconds:.0f} s: killing it.")
            self.kill()
            await self._process.wait()

    def kill(self) -> None:
        """Ends its present life at once."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def _keep_running(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while self._process is not None:
            born = loop.time()
            pid, code = self._process.pid, await self._process.wait()
            self.deaths += 1
            failures = 1 if loop.time() - born > _HEALTHY_SECONDS else failures + 1
            wait_seconds = backoff_seconds(failures)
            self._say(
                f"{self.part.name} (pid {pid}) ended by itself ({_describe(code)}): "
                f"starting it again in {wait_seconds:g} s. Its output: {self.log}"
            )
            await asyncio.sleep(wait_seconds)
            await self._spawn()

    async def _spawn(self) -> None:
        if self.log.exists() and self.log.stat().st_size > _LARGEST_LOG_BYTES:
            self.log.replace(self.log.with_suffix(".old.log"))
        tether = [sys.executable, "-I", "-S", str(_TETHER), str(int(self.part.death_signal)), str(os.getpid())]
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *tether,
                *self.part.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=_CHECKOUT,
                env={**os.environ, **self.part.env},
                # Ctrl-C in a terminal reaches the supervisor only, which stops the parts in order.
                start_new_session=True,
            )
        self._on_start(self.part, self._process.pid)


def _describe(code: int) -> str:
    if code < 0:
        with suppress(ValueError):
            return f"by {signal.Signals(-code).name}"
    return f"exit code {code}"

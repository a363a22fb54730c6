"""(e) Side by side: this stack and the asyncio scripts that people write instead, on one simulator and one file."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.figures import worst_window
from benchmarks.files import write_contacts
from benchmarks.report import Cell, Figures
from benchmarks.stack import simulator, stack
from benchmarks.uploads import post, wait_until_finished

_PHONES, _REPEATS = 200, 10
_DEADLINE_SECONDS = 900


def run(folder: Path) -> Figures:
    """Each way handles 200 phones in 10 adjacent rows each; then again with SIGKILL half-way and a second start."""
    folder.mkdir(parents=True)
    indexes = [index for index in range(_PHONES) for _ in range(_REPEATS)]
    contacts = write_contacts(folder / "contacts.csv", indexes)
    rows = [_script(folder, contacts, pacing) for pacing in ("spaced", "limiter")]
    rows.append(_ours(folder / "phone-scrubber", contacts))
    return Figures(
        "beside-scripts",
        f"{_PHONES} phones in {_PHONES * _REPEATS} rows; SIGKILL half-way, then started again",
        rows,
        {"worst second": "<= 10", "calls": str(_PHONES)},
    )


def _script(folder: Path, contacts: Path, pacing: str) -> dict[str, Cell]:
    here = folder / pacing
    here.mkdir()
    output = here / "out.csv"
    with simulator(here, latency_ms=50) as (url, log):
        command = [sys.executable, "-m", "benchmarks.asyncio_script", str(contacts), str(output), url, pacing]
        started = time.monotonic()
        with subprocess.Popen(command) as killed:
            _wait_for_lines(log, _PHONES * _REPEATS // 2)
            killed.send_signal(signal.SIGKILL)
        subprocess.run(command, check=True, timeout=_DEADLINE_SECONDS)
        seconds = time.monotonic() - started
        return {"way": f"aiohttp, {pacing}", "seconds": seconds, **_calls(log), "rows lost": _missing(output)}


def _ours(folder: Path, contacts: Path) -> dict[str, Cell]:
    folder.mkdir()
    with stack(folder) as running, running.client() as client:
        started = time.monotonic()
        upload = post(client, contacts)
        _wait_for_lines(running.simulator_log, _PHONES // 2)
        os.kill(running.current_pids()["gate-1"], signal.SIGKILL)
        finished = wait_until_finished(client, upload["id"], deadline_seconds=_DEADLINE_SECONDS)
        seconds = time.monotonic() - started
        lost = _PHONES * _REPEATS - finished["counts"]["answered"] - finished["counts"]["failed"]
        return {"way": "phone-scrubber", "seconds": seconds, **_calls(running.simulator_log), "rows lost": lost}


def _calls(log: Path) -> dict[str, Cell]:
    arrivals = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return {
        "calls": len(arrivals),
        "calls / distinct": len(arrivals) / _PHONES,
        "worst second": worst_window([arrival["t_ns"] for arrival in arrivals]),
        "refused (429)": sum(arrival["status"] == 429 for arrival in arrivals),
    }


def _missing(output: Path) -> int:
    with output.open(encoding="utf-8") as file:
        answered = sum(1 for line in file if line.rstrip().endswith(",true") or line.rstrip().endswith(",false"))
    return _PHONES * _REPEATS - answered


def _wait_for_lines(log: Path, count: int) -> None:
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while len(log.read_text(encoding="utf-8").splitlines()) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{log.name} never had {count} lines")
        time.sleep(0.05)

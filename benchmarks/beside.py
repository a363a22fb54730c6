"""(c) A small upload beside a huge one: how long twenty rows wait while a million rows are in the queue."""

import time
from pathlib import Path

from benchmarks.figures import percentile
from benchmarks.files import spread, write_contacts
from benchmarks.report import Figures
from benchmarks.stack import Stack, stack
from benchmarks.uploads import post, scrub

_SMALL_ROWS, _SMALL_UNKNOWN = 20, 3
_READ_SECONDS = 600


def run(folder: Path, *, large_rows: int = 1_000_000, tries: int = 20) -> Figures:
    """The large file's phones are all unknown; each small file has three that nobody asked for before."""
    folder.mkdir(parents=True)
    large = write_contacts(folder / "large.csv", spread(large_rows, large_rows))
    seconds: list[float] = []
    with stack(folder) as running, running.client() as client:
        large_id = post(client, large)["id"]
        _wait_until_called(running, deadline_seconds=_READ_SECONDS)
        for attempt in range(tries):
            fresh = large_rows + attempt * _SMALL_UNKNOWN
            indexes = [fresh + row % _SMALL_UNKNOWN for row in range(_SMALL_ROWS)]
            small = write_contacts(folder / f"small-{attempt}.csv", indexes)
            seconds.append(scrub(client, small, deadline_seconds=120)[0])
        state = client.get(f"/v1/uploads/{large_id}").json()["state"]
    row = {
        "tries": tries,
        "p50, s": percentile(seconds, 0.50),
        "p99, s": percentile(seconds, 0.99),
        "worst, s": max(seconds),
        "large upload meanwhile": state,
    }
    title = f"{_SMALL_ROWS} rows with {_SMALL_UNKNOWN} unknown phones beside {large_rows:,} rows"
    return Figures("small-beside-large", title, [row], {"p99, s": "<= 5"})


def _wait_until_called(running: Stack, *, deadline_seconds: float) -> None:
    deadline = time.monotonic() + deadline_seconds
    while not running.arrivals():
        if time.monotonic() > deadline:
            raise TimeoutError("the large upload made no call")
        time.sleep(0.5)

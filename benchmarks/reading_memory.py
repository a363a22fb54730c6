"""(g) Memory of the feeder, all its processes added up, while it takes in and feeds a big file of each format."""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.files import spread, write_long_csv, write_long_json_lines, write_long_workbook
from benchmarks.known_rows import make_known
from benchmarks.report import Cell, Figures
from benchmarks.stack import Stack, stack
from benchmarks.uploads import scrub

_DEADLINE_SECONDS = 1_800
_LOOK_SECONDS = 0.1
_KIB = 1024

_FORMATS: tuple[tuple[str, Callable[[Path, Iterable[int]], Path]], ...] = (
    ("contacts.csv", write_long_csv),
    ("contacts.jsonl", write_long_json_lines),
    ("contacts.xlsx", write_long_workbook),
)


def run(folder: Path, *, rows: int = 1_000_000, distinct: int = 200_000) -> Figures:
    """The formats one after another at the same feeder, so that what one leaves behind counts for the next."""
    folder.mkdir(parents=True)
    with stack(folder) as running:
        make_known(running, distinct)
        measured = [_measured(running, write(folder / name, spread(rows, distinct)), rows) for name, write in _FORMATS]
    return Figures(
        "reading-memory",
        f"The whole feeder while it reads and feeds {rows:,} rows over {distinct:,} known phones",
        measured,
        {"RSS MB": "< 190", "PSS MB": "< 190"},
    )


def _measured(running: Stack, path: Path, rows: int) -> dict[str, Cell]:
    with _watching(running) as peak, running.client() as client:
        seconds, upload = scrub(client, path, deadline_seconds=_DEADLINE_SECONDS)
    if upload["counts"]["answered"] != rows:
        raise RuntimeError(f"{upload['counts']['answered']} of {rows} rows were answered: the figures mean nothing")
    size = path.stat().st_size
    path.unlink()
    return {
        "file": path.name,
        "MB": size / 1e6,
        "RSS MB": peak.resident_bytes / 1e6,
        "PSS MB": peak.proportional_bytes / 1e6,
        "at the RSS peak, MB": peak.parts,
        "rows/s": rows / seconds,
    }


@dataclass(slots=True)
class _Peak:
    """The most that all processes held at one moment. RSS counts shared pages in each of them, PSS shares them out."""

    resident_bytes: int = 0
    proportional_bytes: int = 0
    parts: str = ""

    def take(self, family: list[tuple[int, int]]) -> None:
        resident = sum(rss for rss, _ in family)
        self.proportional_bytes = max(self.proportional_bytes, sum(pss for _, pss in family))
        if resident > self.resident_bytes:
            self.resident_bytes = resident
            self.parts = " + ".join(f"{rss / 1e6:.0f}" for rss, _ in family)


@contextlib.contextmanager
def _watching(running: Stack) -> Iterator[_Peak]:
    peak, stop = _Peak(), threading.Event()
    thread = threading.Thread(target=_watch, args=(running, peak, stop), daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


def _watch(running: Stack, peak: _Peak, stop: threading.Event) -> None:
    feeders = [pid for name, pid in running.current_pids().items() if name.rpartition("-")[0] == "feeder"]
    while not stop.wait(_LOOK_SECONDS):
        for pid in feeders:
            with contextlib.suppress(psutil.NoSuchProcess):
                family = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
                peak.take([_memory_of(member) for member in family])


def _memory_of(pid: int) -> tuple[int, int]:
    """RSS and PSS in bytes, as the kernel adds them up; zero if the process has just ended."""
    figures = {"Rss:": 0, "Pss:": 0}
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            name, _, rest = line.partition(" ")
            if name in figures:
                figures[name] = int(rest.split()[0]) * _KIB
    return figures["Rss:"], figures["Pss:"]

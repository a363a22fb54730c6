"""(f) Hostile files: how long reading them takes, how much memory, and what the person who sent one is told.

Each is read as the feeder reads it: the same work in the same kind of child process, with the same limits. The torture
files of the samples are read too if SCRUB_SAMPLES names their folder.
"""

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.hostile_files import TABLE, hostile_files
from benchmarks.report import Cell, Figures
from schemas.codec import decode
from schemas.settings import Settings
from services.ingest.feeder.check import MOST_EXPANSION
from services.ingest.feeder.preparation.outcome import ReaderOutcome
from services.ingest.feeder.preparation.read_file import ReadTask, outcome_path, run
from services.ingest.feeder.preparation.reader_process import run_in_child, warm_up
from services.ingest.feeder.role import PRELOADED_MODULES
from services.ingest.reading import ReadOptions

_LOOK_SECONDS = 0.01


def measure(folder: Path) -> Figures:
    folder.mkdir(parents=True)
    warm_up(PRELOADED_MODULES)
    _measured("the first reading starts the processes that the others use", folder, _write_plain)
    rows = [_measured(name, folder, write) for name, write in (*hostile_files(), *_torture_files())]
    return Figures(
        "hostile",
        "Files made to do harm, each read as the feeder reads it",
        rows,
        {"seconds": "<= 5", "peak MB": "<= 256"},
    )


def _write_plain(path: Path) -> None:
    path.write_bytes(TABLE)


def _torture_files() -> Iterator[tuple[str, Callable[[Path], None]]]:
    samples = os.environ.get("SCRUB_SAMPLES")
    found = sorted(Path(samples).glob("torture/**/*.*")) if samples else []
    for source in found:
        if source.suffix != ".json":
            # Mypy cannot infer a lambda with a default.
            yield f"sample {source.name}", lambda path, source=source: path.symlink_to(source)  # type: ignore[misc]


def _measured(name: str, folder: Path, write: Callable[[Path], None]) -> dict[str, Cell]:
    path, spool = folder / "file", folder / "spool"
    spool.mkdir()
    write(path)
    size = path.stat().st_size
    task = ReadTask(
        path=str(path),
        folder=str(spool),
        options=ReadOptions(),
        max_rows=Settings.model_fields["max_rows"].default,
        max_text_bytes=max(Settings.model_fields["max_expanded_bytes"].default, MOST_EXPANSION * size),
    )
    with _watching_children() as memory:
        began = time.monotonic()
        exit_code = asyncio.run(run_in_child(run, task.as_json()))
        seconds = time.monotonic() - began
    told = f"nothing: exit code {exit_code}"
    if outcome_path(spool).exists():
        told = _told(decode(ReaderOutcome, outcome_path(spool).read_bytes()))
    path.unlink()
    for left in spool.iterdir():
        left.unlink()
    spool.rmdir()
    return {"file": name, "bytes": size, "seconds": seconds, "peak MB": memory.peak_bytes / 1e6, "told": told}


def _told(prepared: ReaderOutcome) -> str:
    if prepared.refusal is not None:
        return f"{prepared.refusal.code}: {prepared.refusal.detail}"
    assert prepared.counts is not None
    return f"read: {prepared.counts.rows:,} rows, {prepared.counts.usable:,} with a usable phone"


@dataclass(slots=True)
class _Memory:
    """The most that the processes of one reading held: the sum of each one's own peak, so never too little."""

    peaks: dict[int, int] = field(default_factory=dict)

    @property
    def peak_bytes(self) -> int:
        return sum(self.peaks.values())


@contextlib.contextmanager
def _watching_children() -> Iterator[_Memory]:
    """Looks at every process below this one that did not live before; those are the reading and its workbook reader."""
    memory, stop = _Memory(), threading.Event()
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    thread = threading.Thread(target=_watch, args=(memory, stop, before), daemon=True)
    thread.start()
    try:
        yield memory
    finally:
        stop.set()
        thread.join()


def _watch(memory: _Memory, stop: threading.Event, before: set[int]) -> None:
    while not stop.wait(_LOOK_SECONDS):
        for child in psutil.Process().children(recursive=True):
            if child.pid not in before:
                memory.peaks[child.pid] = max(memory.peaks.get(child.pid, 0), _peak_of(child.pid))


def _peak_of(pid: int) -> int:
    """The kernel's own mark of the most that a process ever held (`VmHWM`), so that no look comes too late for it."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0

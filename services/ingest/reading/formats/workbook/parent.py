"""Runs the process that reads a workbook and receives its rows. Never waits longer than the limits allow."""

import os
import selectors
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import orjson

from services.ingest.reading.formats.workbook.child import WorkbookTask
from services.ingest.reading.formats.workbook.sheet import SheetRow
from services.ingest.reading.model import Limits
from services.ingest.reading.refusals import FileRefused

SAMPLE_ROWS: Final = 3_000
_ROOT: Final = Path(__file__).parents[5]
_MODULE: Final = "services.ingest.reading.formats.workbook.child"
_PIECE_BYTES: Final = 64 * 1024


@dataclass(slots=True)
class SheetSample:
    """The first filled rows of a sheet."""

    name: str
    visible: bool
    rows: list[SheetRow] = field(default_factory=list)


def sample_sheets(path: Path, limits: Limits) -> list[SheetSample]:
    """A sample of every sheet in the order of the tabs. Raises FileRefused, see `child`."""
    samples: list[SheetSample] = []
    for message in _messages(WorkbookTask(str(path), None, SAMPLE_ROWS, 0, asdict(limits)), limits):
        if message[0] == "sheet":
            samples.append(SheetSample(message[1], message[2]))
        else:
            samples[-1].rows.append((message[0], message[1]))
    return samples


def workbook_rows(path: Path, sheet: str, limits: Limits, *, after_row: int = 0) -> Iterator[SheetRow]:
    """Yield the filled rows of a sheet beyond `after_row`. Raises FileRefused, see `child`."""
    for message in _messages(WorkbookTask(str(path), sheet, None, after_row, asdict(limits)), limits):
        if message[0] != "sheet":
            yield message[0], message[1]


def _messages(task: WorkbookTask, limits: Limits) -> Iterator[list[Any]]:
    """Yield the messages of the process until it ends. Closing the iterator ends the process."""
    with _running(task) as output:
        for line in _lines(output, limits.child_idle_seconds):
            message = orjson.loads(line)
            if message[0] == "end":
                return
            if message[0] == "refused":
                raise FileRefused(message[1], message[2])
            if message[0] == "failed":
                raise OSError(message[1], "the process that reads the workbook failed")
            yield message
    raise FileRefused("bad-workbook", "Reading it took too much memory or time. Save the table as CSV.")


@contextmanager
def _running(task: WorkbookTask) -> Iterator[IO[bytes]]:
    search_path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(
        [sys.executable, "-m", _MODULE, task.as_json().decode()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_without_secrets() | {"PYTHONPATH": search_path, "MALLOC_ARENA_MAX": "1"},
    )
    with process:
        try:
            if process.stdout is None:
                raise RuntimeError("the process has no output")
            yield process.stdout
        finally:
            process.kill()


def _without_secrets() -> dict[str, str]:
    """The environment without our settings: the process parses an untrusted file."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SCRUB_")}


def _lines(output: IO[bytes], idle_seconds: float) -> Iterator[bytes]:
    """Yield complete lines as they arrive. Raises FileRefused if none arrives for too long."""
    tail = b""
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        while True:
            if not selector.select(idle_seconds):
                detail = f"No row could be read for {idle_seconds:.0f} seconds. Save the table as CSV."
                raise FileRefused("bad-workbook", detail)
            piece = os.read(output.fileno(), _PIECE_BYTES)
            if not piece:
                return
            *lines, tail = (tail + piece).split(b"\n")
            yield from lines

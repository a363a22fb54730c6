"""(h) A result file with more rows than a sheet holds: written at full size, then read and checked by openpyxl."""

import asyncio
import resource
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import openpyxl

from benchmarks.phones import as_people_write, phone
from benchmarks.report import Cell, Figures
from schemas.interface import Row
from schemas.lookups import RowResult
from schemas.uploads import Detected
from services.assembler.status.api.result_files import RESULT_COLUMNS, layout_of
from services.assembler.status.api.workbooks import SHEET_ROWS, Workbook
from services.ingest.feeder.preparation.reader_process import run_in_child

ROWS = SHEET_ROWS + 3
_COLUMNS = ("id", "phone")
_DISTINCT = 10_000
_CHUNK_ROWS = 2_000
"""About as many as a download takes from the store at a time."""
_RESULT = RowResult(
    outcome="ok",
    verdict="ok",
    line_type="mobile",
    carrier="Example Mobile",
    country="US",
    reachable="yes",
    do_not_call="no",
    provider="generic",
    looked_up_at=datetime(2026, 1, 5, 12, tzinfo=UTC),
    attempts=1,
)


def run(folder: Path) -> Figures:
    """Raises RuntimeError if a row is missing, doubled, out of order, or not what was written."""
    folder.mkdir(parents=True)
    path = folder / "result.xlsx"
    began = time.monotonic()
    exit_code = asyncio.run(run_in_child(write, str(path).encode()))
    seconds = time.monotonic() - began
    if exit_code != 0:
        raise RuntimeError(f"writing ended with exit code {exit_code}")
    cpu_seconds, before_kib, peak_kib = map(float, _usage_path(path).read_text(encoding="ascii").split())
    sheets = _checked(path)
    figures: dict[str, Cell] = {
        "rows": ROWS,
        "rows of the sheets": " + ".join(f"{rows:,}" for rows in sheets),
        "MB": path.stat().st_size / 1e6,
        "seconds": seconds,
        "cpu s": cpu_seconds,
        "peak MB": peak_kib * 1024 / 1e6,
        "of it while writing, MB": (peak_kib - before_kib) * 1024 / 1e6,
    }
    title = f"{ROWS:,} rows with their header, three more than a sheet holds, written and read again"
    return Figures("big-xlsx", title, [figures], {"peak MB": "< 200"})


def write(path_bytes: bytes) -> None:
    """Writes the file as a download does; what this process used is left beside it."""
    path = Path(path_bytes.decode())
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    book = Workbook(path, layout_of(Detected(format="csv", columns=_COLUMNS), width=len(_COLUMNS)))
    for first in range(1, ROWS + 1, _CHUNK_ROWS):
        book.add([_row(number) for number in range(first, min(first + _CHUNK_ROWS, ROWS + 1))])
    book.close()
    used = resource.getrusage(resource.RUSAGE_SELF)
    text = f"{used.ru_utime + used.ru_stime} {before_kib} {used.ru_maxrss}"
    _usage_path(path).write_text(text, encoding="ascii")


def _usage_path(path: Path) -> Path:
    return path.with_suffix(".usage")


def _row(number: int) -> Row:
    known = phone(number % _DISTINCT)
    cells = (str(number), as_people_write(known, number))
    return Row(row=number, line=number + 1, state="answered", phone=known, cells=cells, result=_RESULT, error=None)


def _expected(number: int) -> tuple[str, ...]:
    known = phone(number % _DISTINCT)
    found = ("ok", "mobile", "Example Mobile", "US", "yes", "no", "2026-01-05T12:00:00Z")
    return (str(number), as_people_write(known, number), known, "answered", *found)


def _checked(path: Path) -> list[int]:
    """Rows of each sheet, the header's not counted; every row's number is checked, and all of some rows."""
    number, counts = 0, []
    with closing(openpyxl.load_workbook(path, read_only=True)) as book:
        for sheet in book.worksheets:
            lines: Iterator[tuple[object, ...]] = sheet.iter_rows(values_only=True)
            if next(lines)[: len(_COLUMNS) + len(RESULT_COLUMNS)] != (*_COLUMNS, *RESULT_COLUMNS):
                raise RuntimeError(f"sheet {sheet.title} does not begin with the header")
            before = number
            for cells in lines:
                number += 1
                if cells[0] != str(number):
                    raise RuntimeError(f"{cells[0]!r} stands where row {number} should")
                if number % 1_000 == 1 or number > SHEET_ROWS - 10:
                    _check_whole(cells, number)
            counts.append(number - before)
    if number != ROWS or counts[0] != SHEET_ROWS - 1:
        raise RuntimeError(f"{ROWS:,} rows were written; the sheets hold {counts}")
    return counts


def _check_whole(cells: tuple[object, ...], number: int) -> None:
    expected = _expected(number)
    if cells[: len(expected)] != expected or any(cells[len(expected) :]):
        raise RuntimeError(f"row {number} holds {cells} instead of {expected}")

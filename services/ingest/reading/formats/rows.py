"""Reads the data rows of a detected file, one after another, in bounded memory."""

from collections.abc import Generator
from itertools import islice
from pathlib import Path

from services.ingest.reading.formats.registry import ROWS
from services.ingest.reading.model import FileLayout, Limits, SourceRow
from services.ingest.reading.refusals import FileRefused


def read_rows(
    path: Path, detected: FileLayout, limits: Limits, *, start_row: int = 1
) -> Generator[SourceRow, None, None]:
    """Yield the data rows from `start_row` on; the first row is 1. Close the iterator to free its resources.

    Raises FileRefused: `too-many-rows`, `line-too-long`, `cell-too-long`, `too-many-columns`, `unzipped-too-big`,
    `bad-archive`, `bad-workbook`.
    """
    rows = ROWS[detected.format](path, detected, limits)
    for number, (line, cells) in enumerate(islice(rows, start_row - 1, None), start_row):
        if number > limits.max_rows:
            detail = f"Line {line} is row {number:,}; {limits.max_rows:,} are allowed. Split the file."
            raise FileRefused("too-many-rows", detail)
        yield SourceRow(number, line, cells)

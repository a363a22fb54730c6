"""Writes result files: the unchanged cells of the input, with result columns after them or refreshed in place."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from schemas.codec import encode
from schemas.interface import Row
from schemas.uploads import Detected
from services.assembler.domain.result_columns import HEADERS, file_cells

RESULT_COLUMNS: Final = ("scrub_phone", "scrub_status", *HEADERS, "scrub_error")
_INPUT_SUFFIXES: Final = re.compile(r"(\.(csv|tsv|tab|txt|xlsx|jsonl|ndjson|json|gz|zip))+$", re.IGNORECASE)
_FORMULA: Final = re.compile(r"^[=+\-@\t\r]")
_HARMLESS: Final = re.compile(r"^[+-]?\d+([.,]\d+)?$")


@dataclass(frozen=True, slots=True)
class ResultLayout:
    """The column of the result file for each result value. `header` is None for an input without a header."""

    header: tuple[str, ...] | None
    width: int
    places: tuple[int, ...]

    def line(self, row: Row) -> list[str]:
        """One row of the result file."""
        cells = list(row.cells)
        cells += [""] * (self.width - len(cells))
        for place, value in zip(self.places, result_values(row), strict=True):
            cells[place] = value
        return cells


def layout_of(detected: Detected | None, *, width: int) -> ResultLayout:
    """The result columns go after the input's; columns that an earlier run appended are refreshed in place.

    `width`: cells of the widest row, as a row may have more cells than the header, or there is no header.
    """
    columns = () if detected is None else detected.columns
    columns = (*columns, *[""] * (width - len(columns)))
    has_header = detected is not None and detected.header
    titles = [title.strip().lower() for title in columns] if has_header else []
    missing = [name for name in RESULT_COLUMNS if name not in titles]
    places = tuple(
        titles.index(name) if name in titles else len(columns) + missing.index(name) for name in RESULT_COLUMNS
    )
    header = (*columns, *missing) if has_header else None
    return ResultLayout(header=header, width=len(columns) + len(missing), places=places)


def result_values(row: Row) -> tuple[str, ...]:
    """The values of `RESULT_COLUMNS` for a row; empty where nothing is known."""
    error = "" if row.error is None else row.error.code
    return (row.phone or "", row.state, *file_cells(row.result), error)


def excel_safe(cell: str) -> str:
    """The cell, with an apostrophe before a text that a spreadsheet would run as a formula; numbers and E.164 stay."""
    if _FORMULA.match(cell) and not _HARMLESS.match(cell):
        return "'" + cell
    return cell


class CsvWriter:
    """Turns rows into CSV (RFC 4180 line ends, the given delimiter), UTF-8."""

    def __init__(self, layout: ResultLayout, *, delimiter: str, safe: bool) -> None:
        self._layout = layout
        self._safe = safe
        self._buffer = io.StringIO()
        self._writer = csv.writer(self._buffer, delimiter=delimiter)

    def head(self) -> bytes:
        if self._layout.header is None:
            return b""
        return self._bytes_of([self._layout.header])

    def chunk(self, rows: Iterable[Row]) -> bytes:
        return self._bytes_of(self._layout.line(row) for row in rows)

    def _bytes_of(self, lines: Iterable[Sequence[str]]) -> bytes:
        for line in lines:
            self._writer.writerow([excel_safe(cell) for cell in line] if self._safe else line)
        text = self._buffer.getvalue()
        self._buffer.seek(0)
        self._buffer.truncate()
        return text.encode()


def jsonl_chunk(rows: Iterable[Row]) -> bytes:
    """One row object a line, in the shape of the rows list."""
    return b"".join(encode(row) + b"\n" for row in rows)


def result_name(name: str, *, extension: str, partial: bool) -> str:
    """`contacts.csv` → `contacts.scrubbed.csv`, or `contacts.partial.csv` while rows are missing."""
    stem = _INPUT_SUFFIXES.sub("", name) or name or "result"
    return f"{stem}.{'partial' if partial else 'scrubbed'}.{extension}"

"""Parses records of delimited text with Python's csv module, also of malformed text, in bounded memory."""

import csv
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from services.ingest.reading.model import Dialect, Limits
from services.ingest.reading.refusals import FileRefused
from services.ingest.reading.text import Lines, LineTooLong

if TYPE_CHECKING:
    from _csv import Reader

Record = tuple[int, list[str]]
"""The first line of a record in the file, from 1, and its cells."""


def records(chunks: Iterator[str], dialect: Dialect, limits: Limits, *, skipped_lines: int = 0) -> Iterator[Record]:
    """Yield each record after the skipped lines. An empty line is no record; a line of delimiters is one.

    Raises FileRefused: `line-too-long`, `cell-too-long`, `too-many-columns`.
    """
    lines = Lines(chunks, limits)
    reader = _reader_of(islice(lines, skipped_lines, None), dialect, limits)
    ended_at = 0
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (LineTooLong, csv.Error) as problem:
            raise _refusal(problem, skipped_lines + ended_at + 1, dialect, limits) from problem
        lines.records += 1
        if cells:
            if len(cells) > limits.max_columns or reader.line_num - ended_at > 1:
                _check(cells, skipped_lines + ended_at + 1, limits)
            yield skipped_lines + ended_at + 1, cells
        ended_at = reader.line_num


def _reader_of(lines: Iterator[str], dialect: Dialect, limits: Limits) -> "Reader":
    csv.field_size_limit(limits.max_cell_chars)
    return csv.reader(
        lines,
        delimiter=dialect.delimiter,
        quotechar=dialect.quote or None,
        quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
        doublequote=not dialect.escape,
        escapechar=dialect.escape or None,
        skipinitialspace=dialect.skip_blank_after_delimiter,
        strict=False,
    )


def _check(cells: list[str], line: int, limits: Limits) -> None:
    if len(cells) > limits.max_columns:
        raise too_many_columns(line, len(cells), limits)
    if sum(map(len, cells)) > limits.max_line_chars:
        raise line_too_long(line, limits)


def _refusal(problem: LineTooLong | csv.Error, line: int, dialect: Dialect, limits: Limits) -> FileRefused:
    if isinstance(problem, LineTooLong):
        columns = problem.text.count(dialect.delimiter) + 1
        return too_many_columns(line, columns, limits) if columns > limits.max_columns else line_too_long(line, limits)
    return FileRefused(
        "cell-too-long",
        f"In the record that begins in line {line} a cell is longer than {limits.max_cell_chars:,} characters. "
        "Perhaps a quotation mark is opened there and never closed: close it or remove it.",
    )


def too_many_columns(line: int, columns: int, limits: Limits) -> FileRefused:
    return FileRefused(
        "too-many-columns",
        f"Line {line} has {columns:,} columns or more; {limits.max_columns:,} are allowed. "
        "Upload only the columns that you need.",
    )


def line_too_long(line: int, limits: Limits) -> FileRefused:
    return FileRefused(
        "line-too-long",
        f"The record that begins in line {line} is longer than {limits.max_line_chars:,} characters. "
        "Perhaps a quotation mark is opened there and never closed, or line ends are missing.",
    )

"""Reads the data rows of a file as it was detected, one after another, in bounded memory."""

from collections.abc import Generator, Iterator, Sequence
from itertools import islice
from pathlib import Path

from services.ingest.reading.containers import open_bytes, unpacked
from services.ingest.reading.delimited import records
from services.ingest.reading.json_lines import cells_of, places_of, values
from services.ingest.reading.model import Detected, Limits, SourceRow
from services.ingest.reading.refusals import Refused
from services.ingest.reading.text import text_chunks
from services.ingest.reading.workbook.parent import workbook_rows

_Row = tuple[int, tuple[str, ...]]


def read_rows(
    path: Path, detected: Detected, limits: Limits, *, start_row: int = 1
) -> Generator[SourceRow, None, None]:
    """The data rows from `start_row` on (the first is 1). Close the iterator to free what it holds.

    Raises Refused: `too-many-rows`, `line-too-long`, `cell-too-long`, `too-many-columns`, `unzipped-too-big`,
    `bad-archive`, `bad-workbook`.
    """
    readers = {"csv": _delimited, "jsonl": _json_lines, "xlsx": _workbook}
    rows = readers[detected.format](path, detected, limits)
    for number, (line, cells) in enumerate(islice(rows, start_row - 1, None), start_row):
        if number > limits.max_rows:
            detail = f"Line {line} is row {number:,}; {limits.max_rows:,} are allowed. Split the file."
            raise Refused("too-many-rows", detail)
        yield SourceRow(number, line, cells)


def filled_width(columns: Sequence[str], limits: Limits) -> int:
    """How many cells each row has at least. 0 for a very wide header: a million short rows would each be as wide."""
    return len(columns) if len(columns) <= limits.max_filled_columns else 0


def _delimited(path: Path, detected: Detected, limits: Limits) -> Iterator[_Row]:
    with open_bytes(path, detected.container, limits) as stream:
        chunks = text_chunks(stream, detected.encoding, limits)
        found = records(chunks, detected.dialect, limits, skipped_lines=detected.skipped_lines)
        for line, cells in islice(found, 1 if detected.header else 0, None):
            yield line, tuple(cells)


def _json_lines(path: Path, detected: Detected, limits: Limits) -> Iterator[_Row]:
    with open_bytes(path, detected.container, limits) as stream:
        found = values(text_chunks(stream, detected.encoding, limits), limits)
        beginning = 1 if detected.header and not detected.keyed else 0
        places = places_of(detected.columns)
        width = filled_width(detected.columns, limits) if detected.keyed else 0
        for line, value in islice(found, beginning, None):
            if line > detected.skipped_lines:
                yield line, cells_of(value, places, width)


def _workbook(path: Path, detected: Detected, limits: Limits) -> Iterator[_Row]:
    """A sheet's rows end with their last filled cell; they are filled up to the header's width."""
    width = filled_width(detected.columns, limits)
    header_row = detected.skipped_lines + 1 if detected.header else 0
    with unpacked(path, detected.container, limits) as workbook:
        for line, cells in workbook_rows(workbook, detected.sheet or "", limits, after_row=header_row):
            yield line, (*cells, *("",) * (width - len(cells)))

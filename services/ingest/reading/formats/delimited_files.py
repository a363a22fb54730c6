"""Detects and reads a file of delimited text: `csv` in the registry of formats."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from services.ingest.reading.containers import open_bytes
from services.ingest.reading.formats.delimited import records
from services.ingest.reading.formats.dialects import dialect_of, separator_line
from services.ingest.reading.formats.text_files import RECORDS_OF_PIECE, TOP_RECORDS, TextFile, slices
from services.ingest.reading.headers import usual_width
from services.ingest.reading.model import Dialect, FileLayout, Limits, ReadOptions
from services.ingest.reading.refusals import FileRefused
from services.ingest.reading.tables import ParserSettings, TableSample, table_of
from services.ingest.reading.text import text_chunks


def detect_delimited(text: TextFile, options: ReadOptions, limits: Limits) -> FileLayout:
    """Find the dialect and the table. Raises FileRefused."""
    separator = separator_line(text.head)
    above = 1 if separator else 0
    body = text.head.split("\n" if "\n" in text.head else "\r", 1)[1] if above else text.head
    dialect = dialect_of(body, wanted=separator if options.delimiter is None else options.delimiter)
    top = list(islice(records(slices(text.head, limits), dialect, limits, skipped_lines=above), TOP_RECORDS))
    if not top:
        raise FileRefused("empty", "The file holds no rows. Choose the file again; perhaps it was not saved.")
    width = usual_width([cells for _, cells in top])
    further = [cells for piece in text.pieces() for cells in _usual_rows(piece, dialect, width, limits)]
    table = table_of(TableSample(top, further), options)
    return table.within(
        ParserSettings("csv", text.encoding, text.container, dialect, lines_above=above), options.region
    )


def delimited_rows(path: Path, detected: FileLayout, limits: Limits) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield the first line and the cells of each data row. Raises FileRefused."""
    dialect = detected.dialect
    with open_bytes(path, detected.container, limits) as stream:
        chunks = text_chunks(stream, detected.encoding, limits)
        found = records(chunks, dialect, limits, skipped_lines=detected.skipped_lines)
        for line, cells in islice(found, 1 if detected.header else 0, None):
            yield line, tuple(cells)


def _usual_rows(piece: str, dialect: Dialect, width: int, limits: Limits) -> list[list[str]]:
    """The rows of a piece that have the usual width. A piece may begin within a cell, so other rows are ignored."""
    try:
        found = list(islice(records(slices(piece, limits), dialect, limits), RECORDS_OF_PIECE))
    except FileRefused:
        return []
    return [cells for _, cells in found if len(cells) == width]

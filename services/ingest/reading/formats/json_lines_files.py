"""Detects and reads a file of JSON Lines: `jsonl` in the registry of formats."""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

from services.ingest.reading.containers import open_bytes
from services.ingest.reading.formats.json_lines import cells_of, keys_of, places_of, values
from services.ingest.reading.formats.text_files import RECORDS_OF_PIECE, TOP_RECORDS, TextFile, slices
from services.ingest.reading.model import FileLayout, Limits, ReadOptions
from services.ingest.reading.refusals import FileRefused
from services.ingest.reading.tables import ParserSettings, TableSample, filled_width, table_of
from services.ingest.reading.text import text_chunks

MOST_SAMPLE_CELLS: Final = 500_000


def detect_json_lines(text: TextFile, options: ReadOptions, limits: Limits) -> FileLayout:
    """Find the keys, if the lines are objects, and the table. Raises FileRefused."""
    top = list(islice(values(slices(text.head, limits), limits), TOP_RECORDS))
    kinds = Counter(type(value) for _, value in top)
    keyed = kinds[dict] >= kinds[list]
    keys: tuple[str, ...] | None = None
    if keyed:
        with open_bytes(text.path, text.container, limits) as stream:
            keys = keys_of(values(text_chunks(stream, text.encoding, limits), limits), limits)
    further = [value for piece in text.pieces() for value in _json_values(piece, limits, keyed)]
    places = places_of(keys or ())
    wanted = ((line, value) for line, value in top if isinstance(value, dict if keyed else list))
    rows = _few_cells((line, cells_of(value, places, 0)) for line, value in wanted)
    rows_further = _few_cells((0, cells_of(value, places, 0)) for value in further)
    table = table_of(TableSample(rows, [cells for _, cells in rows_further]), options, keys=keys)
    return table.within(ParserSettings("jsonl", text.encoding, text.container, keyed=keyed), options.region)


def json_lines_rows(path: Path, detected: FileLayout, limits: Limits) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield the line and the cells of each data row. Raises FileRefused."""
    with open_bytes(path, detected.container, limits) as stream:
        found = values(text_chunks(stream, detected.encoding, limits), limits)
        beginning = 1 if detected.header and not detected.keyed else 0
        places = places_of(detected.columns)
        width = filled_width(detected.columns, limits) if detected.keyed else 0
        for line, value in islice(found, beginning, None):
            if line > detected.skipped_lines:
                yield line, cells_of(value, places, width)


def _few_cells(rows: Iterable[tuple[int, tuple[str, ...]]]) -> list[tuple[int, tuple[str, ...]]]:
    """The first rows that have at most `MOST_SAMPLE_CELLS` cells together: a short object may be a very wide row."""
    taken: list[tuple[int, tuple[str, ...]]] = []
    cells = 0
    for row in rows:
        cells += len(row[1])
        if cells > MOST_SAMPLE_CELLS and taken:
            break
        taken.append(row)
    return taken


def _json_values(piece: str, limits: Limits, keyed: bool) -> list[Any]:
    try:
        found = list(islice(values(slices(piece, limits), limits), RECORDS_OF_PIECE))
    except FileRefused:
        return []
    return [value for _, value in found if isinstance(value, dict if keyed else list)]

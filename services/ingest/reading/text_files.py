"""Decides how a text is to be read: its encoding, whether it is JSON Lines or delimited, its dialect and its table."""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

from services.ingest.reading.containers import open_bytes
from services.ingest.reading.delimited import records
from services.ingest.reading.dialects import dialect_of, separator_line
from services.ingest.reading.encodings import encoding_of
from services.ingest.reading.headers import usual_width
from services.ingest.reading.json_lines import (
    cells_of,
    keys_of,
    looks_like_json_lines,
    places_of,
    values,
)
from services.ingest.reading.model import Container, Detected, Dialect, Limits, ReadOptions
from services.ingest.reading.refusals import Refused
from services.ingest.reading.survey import Survey, survey
from services.ingest.reading.tables import Layout, Sample, table_of
from services.ingest.reading.text import decoded, text_chunks

TOP_RECORDS: Final = 500
RECORDS_OF_PIECE: Final = 30
MOST_SAMPLE_CELLS: Final = 500_000
_NO_LINE_ENDS: Final = (
    "Before byte {:,} no line ends within {:,} characters. Perhaps line ends are missing there, or it is no table."
)
_SIDES: Final = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}


def detect_text(path: Path, container: Container, options: ReadOptions, limits: Limits) -> Detected:
    """Detect a file that is text within its container. Raises Refused."""
    with open_bytes(path, container, limits) as stream:
        seen = survey(stream, limits)
    encoding = encoding_of(seen, options.region, options.encoding)
    head = _whole_lines(decoded(seen.head, encoding), seen, limits)
    if not head.strip("\r\n"):
        raise Refused("empty", "The file holds nothing but line ends. Choose the file again; perhaps it was not saved.")
    text = _Text(seen, head)
    if looks_like_json_lines(head[: 2 * limits.max_line_chars], limits):
        detected = _detect_json_lines(path, container, encoding, text, options, limits)
    else:
        detected = _detect_delimited(container, encoding, text, options, limits)
    if seen.endless:
        raise Refused("line-too-long", _NO_LINE_ENDS.format(seen.total_bytes, limits.max_line_chars))
    return detected


class _Text:
    """The head of a text, which ends with a line, and decoded pieces from further down."""

    def __init__(self, seen: Survey, head: str) -> None:
        self._seen = seen
        self.head = head

    def pieces(self, encoding: str) -> Iterator[str]:
        """Each begins and ends with whole lines, though perhaps within a record."""
        if encoding == "utf-16":
            encoding = _SIDES.get(self._seen.head[:2], "utf-16-le")
        encoding = encoding.removesuffix("-sig")
        for piece in self._seen.pieces[1:]:
            lines = decoded(piece, encoding).splitlines(keepends=True)
            yield "".join(lines[1:-1])


def _whole_lines(text: str, seen: Survey, limits: Limits) -> str:
    """The text up to its last line end, unless what follows is too long for a line and has to be refused."""
    if len(seen.head) == seen.total_bytes:
        return text
    end = max(text.rfind("\n"), text.rfind("\r", 0, len(text) - 1))
    return text[: end + 1] if len(text) - end <= limits.max_line_chars else text


def _detect_delimited(
    container: Container, encoding: str, text: _Text, options: ReadOptions, limits: Limits
) -> Detected:
    separator = separator_line(text.head)
    above = 1 if separator else 0
    body = text.head.split("\n" if "\n" in text.head else "\r", 1)[1] if above else text.head
    dialect = dialect_of(body, wanted=separator if options.delimiter is None else options.delimiter)
    top = list(islice(records(_slices(text.head, limits), dialect, limits, skipped_lines=above), TOP_RECORDS))
    if not top:
        raise Refused("empty", "The file holds no rows. Choose the file again; perhaps it was not saved.")
    width = usual_width([cells for _, cells in top])
    further = [cells for piece in text.pieces(encoding) for cells in _usual_rows(piece, dialect, width, limits)]
    table = table_of(Sample(top, further), options)
    return table.within(Layout("csv", encoding, container, dialect, lines_above=above), options.region)


def _usual_rows(piece: str, dialect: Dialect, width: int, limits: Limits) -> list[list[str]]:
    """Rows of a piece; it may begin within a cell, so only those of the usual width are believed."""
    try:
        found = list(islice(records(_slices(piece, limits), dialect, limits), RECORDS_OF_PIECE))
    except Refused:
        return []
    return [cells for _, cells in found if len(cells) == width]


def _slices(text: str, limits: Limits) -> Iterator[str]:
    step = limits.max_line_chars
    return (text[start : start + step] for start in range(0, len(text), step))


def _detect_json_lines(
    path: Path, container: Container, encoding: str, text: _Text, options: ReadOptions, limits: Limits
) -> Detected:
    top = list(islice(values(_slices(text.head, limits), limits), TOP_RECORDS))
    kinds = Counter(type(value) for _, value in top)
    keyed = kinds[dict] >= kinds[list]
    keys: tuple[str, ...] | None = None
    if keyed:
        with open_bytes(path, container, limits) as stream:
            keys = keys_of(values(text_chunks(stream, encoding, limits), limits), limits)
    further = [value for piece in text.pieces(encoding) for value in _json_values(piece, limits, keyed)]
    places = places_of(keys or ())
    wanted = ((line, value) for line, value in top if isinstance(value, dict if keyed else list))
    rows = _few_cells((line, cells_of(value, places, 0)) for line, value in wanted)
    rows_further = _few_cells((0, cells_of(value, places, 0)) for value in further)
    table = table_of(Sample(rows, [cells for _, cells in rows_further]), options, keys=keys)
    return table.within(Layout("jsonl", encoding, container, keyed=keyed), options.region)


def _few_cells(rows: Iterable[tuple[int, tuple[str, ...]]]) -> list[tuple[int, tuple[str, ...]]]:
    """The first rows, as long as they have not too many cells together: a short object may be a very wide row."""
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
        found = list(islice(values(_slices(piece, limits), limits), RECORDS_OF_PIECE))
    except Refused:
        return []
    return [value for _, value in found if isinstance(value, dict if keyed else list)]

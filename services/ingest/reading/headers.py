"""Decides where the table begins: which lines above it are titles, and whether its first record is a header."""

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

import orjson

from schemas.phones import normalise
from services.ingest.reading.cells import is_data, is_placeholder
from services.ingest.reading.header_words import hint_of
from services.ingest.reading.model import Limits
from services.ingest.reading.refusals import FileRefused

MOST_TITLES: Final = 20
LONGEST_HEADER_CHARS: Final = 120
LONGEST_PHONE_HEADER_CHARS: Final = 60
_MOST_BODY_RECORDS: Final = 200


class Top(NamedTuple):
    """How many records stand above the table, and whether its first record is a header."""

    titles: int
    header: bool


class HeaderSize:
    """Adds up the header texts of a table and refuses them when they are more than the limits allow."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._bytes = 0

    def add(self, header: str, where: str) -> None:
        """Counts one more. Raises FileRefused `header-too-long`; `where` begins its sentence."""
        if len(header) > self._limits.max_header_chars:
            raise FileRefused(
                "header-too-long",
                f"{where} has a name of {len(header):,} characters; {self._limits.max_header_chars:,} are allowed. "
                "Shorten it, or say that the file has no header if that is a row.",
            )
        self._bytes += len(orjson.dumps(header)) + 1
        if self._bytes > self._limits.max_header_bytes:
            raise FileRefused(
                "header-too-long",
                f"The names of the columns have together more than {self._limits.max_header_bytes:,} bytes. Shorten "
                "them, or upload only the columns that you need.",
            )


def check_headers(columns: Sequence[str], limits: Limits) -> None:
    """Raises FileRefused `header-too-long`."""
    size = HeaderSize(limits)
    for column, header in enumerate(columns):
        size.add(header, f"Column {column}")


def top_of(records: Sequence[Sequence[str]], region: str, *, wanted: bool | None = None) -> Top:
    """Where the table of these first records begins. Titles are only skipped above a header."""
    titles = _titles(records)
    if wanted is not None:
        return Top(titles if wanted else 0, wanted)
    if titles < len(records) and _is_header(records[titles], records[titles + 1 : titles + _MOST_BODY_RECORDS], region):
        return Top(titles, True)
    return Top(0, False)


def usual_width(records: Sequence[Sequence[str]]) -> int:
    """The commonest number of cells; the wider one of two equally common."""
    widths = Counter(map(len, records))
    return max(widths, key=lambda width: (widths[width], width), default=0)


def _titles(records: Sequence[Sequence[str]]) -> int:
    """Records at the top with so few filled cells that they are no row of the table below."""
    width = usual_width(records)
    most_filled = max(1, width // 3)
    for position, record in enumerate(records[: MOST_TITLES + 1]):
        filled = sum(1 for cell in record if cell.strip())
        if _phone_named_above_data(record, records[position + 1 : position + _MOST_BODY_RECORDS]):
            return position
        if width < 2 or filled > most_filled or (len(record) == width == 2 and filled == 2):
            return position
    return 0


def _is_header(record: Sequence[str], body: Sequence[Sequence[str]], region: str) -> bool:
    named = [cell.strip() for cell in record if not is_placeholder(cell)]
    if not named or len(named) < len(record) / 2 or any(normalise(cell, region).phone for cell in named):
        return False
    if _phone_named_above_data(record, body):
        return True
    data_share = sum(map(is_data, named)) / len(named)
    if data_share > 0.3 or max(map(len, named)) > LONGEST_HEADER_CHARS:
        return False
    if any(map(_names_phone, named)):
        return True
    contrasts = _contrasting_columns(record, body)
    return contrasts > 0 if data_share else contrasts > 0 or not _repeats_below(record, body)


def _names_phone(cell: str) -> bool:
    return len(cell) <= LONGEST_PHONE_HEADER_CHARS and not is_data(cell) and hint_of(cell) in ("phone", "lesser_phone")


def _phone_named_above_data(record: Sequence[str], body: Sequence[Sequence[str]]) -> bool:
    """The surest sign, even beside headers that are numbers, such as years."""
    return any(_names_phone(cell) and _mostly_data(body, at) for at, cell in enumerate(record))


def _contrasting_columns(record: Sequence[str], body: Sequence[Sequence[str]]) -> int:
    """Columns with words above and mostly data below."""
    return sum(1 for at, cell in enumerate(record) if not is_data(cell) and cell.strip() and _mostly_data(body, at))


def _mostly_data(body: Sequence[Sequence[str]], column: int) -> bool:
    filled = [row[column] for row in body if column < len(row) and not is_placeholder(row[column])]
    return bool(filled) and sum(map(is_data, filled)) >= 0.7 * len(filled)


def _repeats_below(record: Sequence[str], body: Sequence[Sequence[str]]) -> bool:
    """Whether texts of the record come back in their columns, as categories do and headers do not."""
    return any(
        cell.strip() and any(at < len(row) and row[at] == cell for row in body) for at, cell in enumerate(record)
    )

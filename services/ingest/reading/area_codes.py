"""Decides which columns may hold the area codes that belong before the phones of another column."""

import re
from collections.abc import Sequence
from typing import Final

from schemas.phones import normalise
from services.ingest.reading.cells import is_placeholder
from services.ingest.reading.header_words import hint_of, plain_words

LEAST_JOINED_SHARE: Final = 0.8
LEAST_JOINED_SHARE_BY_CONTENT: Final = 0.95
MOST_SHARE_ALONE: Final = 0.3

_AREA_CODE = re.compile(r"\s*\(?\+?\d{1,6}\)?(?:\.0)?\s*").fullmatch
_INTEGRAL_FLOAT = re.compile(r"\s*(\d+)\.0+\s*").fullmatch
_FAX = re.compile("fax|ファックス|팩스|传真|факс")


def joined(area: str, number: str) -> str:
    """Area code and number as one cell; each may be an integral float."""
    return f"{_without_point(area)} {_without_point(number)}"


def area_candidates(
    rows: Sequence[Sequence[str]], headers: Sequence[str], phone_column: int, *, region: str
) -> list[int]:
    """The columns that make the numbers of the phone column valid, the best first.

    A column with a header for area codes must do so for most rows. Any other column must do so for nearly all rows,
    and few numbers may be valid alone.
    """
    pairs = [
        (column, share, _named_so(headers, column))
        for column in range(max(map(len, rows), default=0))
        if column != phone_column and not _of_another_kind(headers, column, phone_column)
        for share in (_joined_share(rows, column, phone_column, region),)
    ]
    alone = _share_alone(rows, phone_column, region)
    found = [
        (not named, -share, abs(phone_column - column), column)
        for column, share, named in pairs
        if (share >= LEAST_JOINED_SHARE and share > alone and named)
        or (share >= LEAST_JOINED_SHARE_BY_CONTENT and alone <= MOST_SHARE_ALONE)
    ]
    return [column for *_, column in sorted(found)]


def _named_so(headers: Sequence[str], column: int) -> bool:
    return column < len(headers) and hint_of(headers[column]) == "area_code"


def _of_another_kind(headers: Sequence[str], column: int, phone_column: int) -> bool:
    """An area code of the fax belongs before the fax only."""
    if max(column, phone_column) >= len(headers):
        return False
    return bool(_FAX.search(plain_words(headers[column]))) != bool(_FAX.search(plain_words(headers[phone_column])))


def _joined_share(rows: Sequence[Sequence[str]], column: int, phone_column: int, region: str) -> float:
    pairs = [
        (row[column], row[phone_column])
        for row in rows
        if max(column, phone_column) < len(row) and not is_placeholder(row[phone_column]) and row[column].strip()
    ]
    if not pairs or not all(_AREA_CODE(area) for area, _ in pairs):
        return 0.0
    return sum(normalise(joined(area, number), region).phone is not None for area, number in pairs) / len(pairs)


def _share_alone(rows: Sequence[Sequence[str]], phone_column: int, region: str) -> float:
    filled = [row[phone_column] for row in rows if phone_column < len(row) and not is_placeholder(row[phone_column])]
    return sum(normalise(cell, region).phone is not None for cell in filled) / len(filled) if filled else 0.0


def _without_point(cell: str) -> str:
    found = _INTEGRAL_FLOAT(cell)
    return found[1] if found else cell.strip()

"""Owns the cursors of the lists: where a page ended, as a text whose pattern takes exactly what a page can end with."""

from typing import Annotated, Final

from pydantic import Field

_INT32: Final = (
    "(?:[0-9]{1,9}|1[0-9]{9}|20[0-9]{8}|21[0-3][0-9]{7}|214[0-6][0-9]{6}|2147[0-3][0-9]{5}|21474[0-7][0-9]{4}"
    "|214748[0-2][0-9]{3}|2147483[0-5][0-9]{2}|21474836[0-3][0-9]|214748364[0-7])"
)
"""A whole number that a column of 32 bits holds: PostgreSQL refuses larger ones with an error."""
_INT63: Final = "[0-9]{1,18}"
"""An offset, an entry's id: fits 64 bits."""
_MICROS: Final = "[0-9]{1,16}"
"""Microseconds since 1970, to the year 2286: beyond 9999 they would be no time."""
_ID: Final = "[0-9A-Za-z_.:-]{1,100}"
"""An upload's id. Databases of earlier versions hold some that are no UUIDs, and a page may end with one."""
_MEANING: Final = "`next` of the page before"
_SEPARATOR: Final = "_"

UploadsCursor = Annotated[str, Field(pattern=f"^{_MICROS}_{_ID}$", description=_MEANING)]
"""Time of creation and id of the last upload."""
RowsCursor = Annotated[str, Field(pattern=f"^{_INT32}$", description=_MEANING)]
"""Number of the last row."""
DeadLettersCursor = Annotated[str, Field(pattern=f"^{_INT32}_{_INT32}$", description=_MEANING)]
"""Upload's number and row of the last dead letter."""
AuditCursor = Annotated[str, Field(pattern=f"^{_MICROS}_{_INT63}$", description=_MEANING)]
"""Time and id of the last entry."""
BadRecordsCursor = Annotated[str, Field(pattern=f"^{_MICROS}_{_INT32}_{_INT63}$", description=_MEANING)]
"""When the last record was put aside, and the place of the note of it on its topic."""


def encode_cursor(*parts: str | int) -> str:
    return _SEPARATOR.join(str(part) for part in parts)


def cursor_numbers(cursor: str) -> list[int]:
    """The parts of a validated cursor that is made of numbers alone."""
    return [int(part) for part in cursor.split(_SEPARATOR)]


def number_and_id(cursor: str) -> tuple[int, str]:
    """The parts of a validated `UploadsCursor`."""
    number, _, upload_id = cursor.partition(_SEPARATOR)
    return int(number), upload_id

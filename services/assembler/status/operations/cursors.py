"""Owns the cursors of the lists: the position where a page ended, as a text with a strict pattern."""

from typing import Annotated, Final

from pydantic import Field

_INT32: Final = (
    "(?:[0-9]{1,9}|1[0-9]{9}|20[0-9]{8}|21[0-3][0-9]{7}|214[0-6][0-9]{6}|2147[0-3][0-9]{5}|21474[0-7][0-9]{4}"
    "|214748[0-2][0-9]{3}|2147483[0-5][0-9]{2}|21474836[0-3][0-9]|214748364[0-7])"
)
"""A whole number of 32 bits: PostgreSQL refuses larger ones with an error."""
_INT63: Final = "[0-9]{1,18}"
"""An offset or an entry's id: fits 64 bits."""
_MICROS: Final = "[0-9]{1,16}"
"""Microseconds since 1970, up to the year 2286; Python has no times after the year 9999."""
_ID: Final = "[0-9A-Za-z_.:-]{1,100}"
"""An upload's id. Earlier versions stored ids that are not UUIDs, and a page may end with one."""
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
"""The time when the last record was put aside, and the position of its note."""


def encode_cursor(*parts: str | int) -> str:
    return _SEPARATOR.join(str(part) for part in parts)


def cursor_numbers(cursor: str) -> list[int]:
    """The numbers of a validated cursor that holds only numbers."""
    return [int(part) for part in cursor.split(_SEPARATOR)]


def number_and_id(cursor: str) -> tuple[int, str]:
    """The microseconds and the id of a validated `UploadsCursor`."""
    number, _, upload_id = cursor.partition(_SEPARATOR)
    return int(number), upload_id

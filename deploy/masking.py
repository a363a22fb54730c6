"""Decides what of a message may be shown in a terminal: phones are masked, texts from files are left out; pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from schemas.phones import mask

JsonValue = str | int | float | bool | None | Sequence["JsonValue"] | Mapping[str, "JsonValue"]

FROM_FILES: Final = frozenset({"cells", "samples", "columns", "header", "headers", "column", "value", "key", "name"})
"""Fields that hold texts as they stand in somebody's file, or the bytes of somebody's record."""

_TEXT: Final = re.compile(
    r"(?P<kept>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT[\d:.]+)"
    r"|(?P<phone>\+[1-9]\d{3,14})"
    r"|(?P<like>(?<![\w.])[+(]?\d[\d ().-]{5,}\d(?!\w))"
)
"""UUIDs and times, which stay; phones in E.164; anything else that could be dialled."""


def masked_text(text: str) -> str:
    """The text with every phone in it masked, as in `+1415*****00:2f0c…:0`."""
    return _TEXT.sub(_replacement, text)


def _replacement(match: re.Match[str]) -> str:
    if match["phone"]:
        return mask(match["phone"])
    return match["kept"] or "***"


def masked(value: JsonValue) -> JsonValue:
    """A message as JSON, without anything that names a person."""
    if isinstance(value, str):
        return masked_text(value)
    if isinstance(value, Mapping):
        return {masked_text(name): _left_out(one) if name in FROM_FILES else masked(one) for name, one in value.items()}
    if isinstance(value, Sequence):
        return [masked(one) for one in value]
    return value


def _left_out(value: JsonValue) -> JsonValue:
    """How much there is, instead of what."""
    if isinstance(value, str) and value:
        return f"({len(value)} characters)"
    if isinstance(value, Sequence) and value and not isinstance(value, str):
        return f"({len(value)} values)"
    return masked(value)

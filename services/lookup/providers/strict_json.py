"""Reads a JSON object as RFC 8259 means it, where Python's own reader is lenient: what is doubtful is refused. Pure."""

import json
import math
from typing import Any, NoReturn

_MOST_DIGITS = 18
"""What fits 64 bits. Python reads longer integers too, at a cost that grows with the square of their length."""


class NotStrictJson(Exception):
    """The text says what is wrong, without the input; `code` is short for it."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def parse_object(body: bytes) -> dict[str, Any]:
    """The one JSON object that `body` is, in UTF-8.

    Raises:
        NotStrictJson: it is something else (`garbage`), or has a key twice (`duplicate_keys`), a number that is none
            (`not_finite`) or one of more than 18 digits (`huge_number`).
    """
    try:
        value = json.loads(
            body.decode("utf-8-sig"),
            object_pairs_hook=_unique,
            parse_constant=_not_finite,
            parse_float=_float,
            parse_int=_int,
        )
    except (ValueError, RecursionError):
        raise NotStrictJson("garbage", "is not JSON") from None
    if not isinstance(value, dict):
        raise NotStrictJson("garbage", "is no JSON object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) != len(pairs):
        raise NotStrictJson("duplicate_keys", "has a key twice")
    return read


def _not_finite(_text: str) -> NoReturn:
    raise NotStrictJson("not_finite", "has a number that is none")


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise NotStrictJson("not_finite", "has a number that is none")
    return number


def _int(text: str) -> int:
    if len(text.lstrip("-")) > _MOST_DIGITS:
        raise NotStrictJson("huge_number", f"has a number of more than {_MOST_DIGITS} digits")
    return int(text)

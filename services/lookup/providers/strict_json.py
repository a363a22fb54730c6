"""Parses a JSON object strictly by RFC 8259. Python's parser is lenient: it accepts duplicate keys and NaN. Pure."""

import json
import math
from typing import Any, NoReturn

_MOST_DIGITS = 18
"""Integers of so many digits fit into 64 bits. Python parses longer ones in quadratic time."""


class NotStrictJson(Exception):
    """The text explains the error without repeating the input. `code` is its short form."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`, which is UTF-8.

    Raises:
        NotStrictJson: the body is not one JSON object (`garbage`). Or the object has a key twice (`duplicate_keys`), a
            number that is not finite (`not_finite`), or an integer of more than 18 digits (`huge_number`).
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

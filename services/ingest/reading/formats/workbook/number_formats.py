"""Decides how a number of a workbook is shown: as a date, padded with zeros, or as a plain number.

Source of the built-in formats and of the day counts: ECMA-376 part 1, 18.8.30 and 18.17.4.
"""

import datetime
import re
from typing import Final, Literal, NamedTuple

Kind = Literal["number", "date", "duration", "padded"]


class Shown(NamedTuple):
    """How the numbers of a style are shown; `digits` is the least number of them when `padded`."""

    kind: Kind
    digits: int = 0


PLAIN: Final = Shown("number")
_BUILT_IN_DATES: Final = frozenset((*range(14, 23), *range(27, 37), 45, 47, *range(50, 59)))
_BUILT_IN_DURATION: Final = 46
_NOT_CODE = re.compile(r'"[^"]*"|\\.|_.|\*.|\[(?!h+\]|m+\]|s+\])[^\]]*\]', re.IGNORECASE)
_ELAPSED = re.compile(r"\[(?:h+|m+|s+)\]", re.IGNORECASE)
_DATE_LETTERS = re.compile(r"[ydhsm]", re.IGNORECASE)
_SECONDS_A_DAY: Final = 86_400
_LAST_DAY: Final = 2_958_465
"""31 December 9999."""


def shown_by(format_id: int, code: str | None) -> Shown:
    """What a number format means; `code` is None for the built-in ones."""
    if code is None:
        if format_id == _BUILT_IN_DURATION:
            return Shown("duration")
        return Shown("date") if format_id in _BUILT_IN_DATES else PLAIN
    bare = _NOT_CODE.sub("", code.split(";")[0])
    if _ELAPSED.search(bare):
        return Shown("duration")
    if "general" in bare.casefold() or "standard" in bare.casefold():
        return PLAIN
    if _DATE_LETTERS.search(bare):
        return Shown("date")
    return Shown("padded", len(bare)) if len(bare) > 1 and set(bare) == {"0"} else PLAIN


def as_shown(written: str, shown: Shown, *, from_1904: bool = False) -> str:
    """A number as a person would see it: dates in ISO 8601, integral floats without a point."""
    if shown.kind == "number" and written.isdecimal():
        return written
    try:
        value = float(written)
    except ValueError:
        return written
    if shown.kind == "date" and 0 <= value < _LAST_DAY + 1:
        return _date(value, from_1904)
    if shown.kind == "duration" and 0 <= value < _LAST_DAY + 1:
        minutes, seconds = divmod(round(value * _SECONDS_A_DAY), 60)
        return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
    plain = _number(written, value)
    return plain.zfill(shown.digits) if shown.kind == "padded" and plain.isdecimal() else plain


def _number(written: str, value: float) -> str:
    if written.lstrip("-").isdecimal():
        return written
    if value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    return format(value, ".15g")


def _date(value: float, from_1904: bool) -> str:
    seconds = round(value * _SECONDS_A_DAY)
    days, seconds = divmod(seconds, _SECONDS_A_DAY)
    time = datetime.time(seconds // 3600, seconds // 60 % 60, seconds % 60)
    if days == 0 and not from_1904:
        return time.isoformat()
    day = _first_day(days, from_1904) + datetime.timedelta(days=min(days, _LAST_DAY))
    return f"{day.isoformat()}T{time.isoformat()}" if seconds else day.isoformat()


def _first_day(days: int, from_1904: bool) -> datetime.date:
    """Excel counts 29 February 1900, which did not exist, so earlier days are shifted by one."""
    if from_1904:
        return datetime.date(1904, 1, 1)
    return datetime.date(1899, 12, 31) if days < 60 else datetime.date(1899, 12, 30)

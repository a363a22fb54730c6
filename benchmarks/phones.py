"""Generates distinct valid phones that belong to nobody: directory exchange 555 of each area code, from 555-0200 up."""

from functools import cache

import phonenumbers

_FIRST_LINE = 200
"""555-0100 to 555-0199 are left out: the simulator gives some of them a behaviour of their own."""
_LINES = 10_000 - _FIRST_LINE


@cache
def _area_codes() -> tuple[int, ...]:
    candidates = range(201, 990)
    return tuple(code for code in candidates if phonenumbers.is_valid_number(phonenumbers.parse(f"+1{code}5552000")))


def phone(index: int) -> str:
    """The `index`-th phone in E.164; distinct for each index below about 3,700,000."""
    codes = _area_codes()
    line, area = divmod(index, len(codes))
    if line >= _LINES:
        raise ValueError(f"there are only {_LINES * len(codes)} such phones")
    return f"+1{codes[area]}555{_FIRST_LINE + line:04d}"


def as_people_write(phone_e164: str, style: int) -> str:
    """One of a few usual spellings of a North American phone."""
    area, exchange, line = phone_e164[2:5], phone_e164[5:8], phone_e164[8:]
    styles = (
        f"({area}) {exchange}-{line}",
        f"{area}-{exchange}-{line}",
        f"{area}.{exchange}.{line}",
        f"+1 {area} {exchange} {line}",
        f"1{area}{exchange}{line}",
    )
    return styles[style % len(styles)]

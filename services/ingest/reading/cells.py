"""Decides what a single cell looks like: blank, a number, a date, a coordinate, part of a local phone, or words."""

import re
from typing import Final

PLACEHOLDERS: Final = frozenset(
    ("", "-", "--", "---", ".", "?", "n/a", "na", "nan", "null", "none", "nil", "not available", "unknown", "#n/a")
)
_NUMBER = re.compile(r"[+-]?(?:\d+|\d{1,3}(?:[.,]\d{3})+)(?:[.,]\d+)?%?").fullmatch
_DATE = re.compile(
    r"(?:(?:19|20)\d\d([-/.]?)(?:0?[1-9]|1[0-2])\1(?:0?[1-9]|[12]\d|3[01])"
    r"|(?:0?[1-9]|[12]\d|3[01])([-/.])(?:0?[1-9]|[12]\d|3[01])\2(?:19|20)?\d\d)"
    r"(?:[T ]\d{1,2}:\d\d(?::\d\d)?(?:\.\d+)?Z?)?"
).fullmatch
_COORDINATE = re.compile(r"[+-]?\d{1,3}[.,]\d{3,}(?:[eE]-\d+)?").fullmatch
_BUSINESS_ID = re.compile(r"\d{2}\.\d{3}\.\d{3}/\d{4}-\d{2}|\d{3}\.\d{3}\.\d{3}-\d{2}|\d{3}-\d{2}-\d{4}").fullmatch
_LOCAL_PHONE = re.compile(r"[+(]{0,2}\d(?:[\s()./-]{0,3}\d){4,14}(?!\d)").match
_FORMATTED = re.compile(r"^\s*[+(]|\d[)\s]\s*\(?\d|\d-\d")
_DIGIT = re.compile(r"\d")


def is_placeholder(cell: str) -> bool:
    """Blank, or what people write for it."""
    return cell.strip().casefold() in PLACEHOLDERS


def digits(cell: str) -> int:
    return len(_DIGIT.findall(cell))


def is_number(cell: str) -> bool:
    return _NUMBER(cell.strip()) is not None


def is_decoy(cell: str) -> bool:
    """Digits that are no phone whatever a parser makes of them: dates, coordinates, numbers of firms and people."""
    text = cell.strip()
    return bool(_DATE(text) or _COORDINATE(text) or _BUSINESS_ID(text))


def is_local_phone(cell: str) -> bool:
    """Begins like a phone of 5 to 15 digits, perhaps without its area code."""
    return _LOCAL_PHONE(cell.strip()) is not None and not is_decoy(cell)


def is_formatted(cell: str) -> bool:
    """Grouped or marked like a phone, not just a run of digits."""
    return _FORMATTED.search(cell) is not None


def is_data(cell: str) -> bool:
    """What stands in a row of data, hardly ever in a header: numbers, dates, codes, addresses of mail and web."""
    return is_number(cell) or digits(cell) >= 5 or "@" in cell or "://" in cell

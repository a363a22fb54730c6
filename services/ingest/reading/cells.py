"""Decides the kind of a single cell: blank, a number, a date, a coordinate, a local phone, or text."""

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
    """Whether a cell is blank or holds a usual placeholder for blank."""
    return cell.strip().casefold() in PLACEHOLDERS


def digits(cell: str) -> int:
    return len(_DIGIT.findall(cell))


def is_number(cell: str) -> bool:
    return _NUMBER(cell.strip()) is not None


def is_decoy(cell: str) -> bool:
    """Whether digits are no phone, even if a parser accepts them: dates, coordinates, business and personal ids."""
    text = cell.strip()
    return bool(_DATE(text) or _COORDINATE(text) or _BUSINESS_ID(text))


def is_local_phone(cell: str) -> bool:
    """Whether a cell begins like a phone of 5 to 15 digits, perhaps without its area code."""
    return _LOCAL_PHONE(cell.strip()) is not None and not is_decoy(cell)


def is_formatted(cell: str) -> bool:
    """Whether a cell is grouped or marked like a phone, and not only a run of digits."""
    return _FORMATTED.search(cell) is not None


def is_data(cell: str) -> bool:
    """Whether a cell looks like data and not like a header: numbers, dates, codes, mail and web addresses."""
    return is_number(cell) or digits(cell) >= 5 or "@" in cell or "://" in cell

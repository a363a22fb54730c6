"""Decides whether a cell is a phone, and how a phone may be shown where people other than its owner read.

The rule, in this order: the cell is stripped; an integral float loses its `.0` (a spreadsheet or pandas put it
there); scientific notation (`4.41234E+11`) has lost digits for good; what is left is a phone when `phonenumbers` can
parse it as a whole in the region and calls it valid, and when it has at most the 15 digits of E.164. Letters, `tel:`,
extensions and Unicode digits are understood by that library.
"""

import functools
import hashlib
import hmac
import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

import phonenumbers
from phonenumbers.phonemetadata import PhoneMetadata, PhoneNumberDesc

__all__ = ["Reading", "Reason", "fingerprint", "is_region", "mask", "normalise", "search"]

Reason = Literal["no_phone", "not_a_phone", "lost_digits"]
"""Why there is no phone: the cell is blank · it holds no valid number · a spreadsheet has rounded it away."""

CACHED_CELLS = 16_384
"""About 6 MB when full, of each of two caches. Uploads repeat their phones; an answer from the cache costs 0.1 µs
instead of 20 to 60. Four times as many cost every process that reads a file 18 MB more and help only few files."""

LONGEST_CACHED_CHARS = 100
"""Longer cells are read anew each time: 16,384 cells of 100 kB would fill any memory."""

LONGEST_CELL_CHARS = 250
"""`phonenumbers` itself refuses to parse more (MAX_INPUT_STRING_LENGTH)."""

LONGEST_PHONE_CHARS = 16
"""A plus and at most 15 digits (ITU-T E.164). `phonenumbers` calls some longer numbers valid, German ones of 17 digits
for example; nobody can dial them, and no message may carry them."""

_SHORTEST_WITH_END_SHOWN = 8
"""Of a shorter phone, two characters at either end would leave next to nothing to guess."""

LONGEST_SEARCH_CHARS = 1_000
MOST_SEARCH_TRIES = 20
"""A cell is searched only so far: each candidate costs some 50 µs and a hostile cell may hold thousands."""

_NORTH_AMERICAN_REGIONS = ("US", "CA")
_SHORT_NUMBERS = ("310",)
"""Exchanges of seven-digit numbers (Canada), the only ones that may stand within ten digits."""
_THREE_DIGITS = re.compile(r"\d\D*\d\D*\d").search
_INTEGRAL_FLOAT = re.compile(r"(\d+)\.0+").fullmatch
_SCIENTIFIC = re.compile(r"[+-]?\d+(?:[.,]\d+)?[eE][+]?\d+").fullmatch
_NORTH_AMERICAN = re.compile(
    r"(\+1[ .-]?|1[ .-]?)?(?:\(([2-9][0-9]{2})\) ?|([2-9][0-9]{2})[ .-]?)([2-9][0-9]{2})[ .-]?([0-9]{4})"
).fullmatch


class Reading(NamedTuple):
    """What a cell says: a phone in E.164, or the reason why there is none."""

    phone: str | None
    reason: Reason | None


_BLANK = Reading(None, "no_phone")
_NOT_A_PHONE = Reading(None, "not_a_phone")
_LOST_DIGITS = Reading(None, "lost_digits")


def normalise(cell: str, region: str) -> Reading:
    """Read a whole cell as one phone; `region` (ISO 3166, two letters) is for those without a country code."""
    return _read(cell, region) if len(cell) <= LONGEST_CACHED_CHARS else _read.__wrapped__(cell, region)


def search(cell: str, region: str) -> str | None:
    """The first valid phone inside a cell that is more than a phone (several numbers, labels, text), in E.164."""
    return _search(cell, region) if len(cell) <= LONGEST_CACHED_CHARS else _search.__wrapped__(cell, region)


@functools.lru_cache(maxsize=CACHED_CELLS)
def _read(cell: str, region: str) -> Reading:
    text = cell.strip()
    if not text:
        return _BLANK
    if float_text := _INTEGRAL_FLOAT(text):
        text = float_text[1]
    if _SCIENTIFIC(text):
        return _LOST_DIGITS
    shape = _NORTH_AMERICAN(text)
    if shape is not None and (region in _NORTH_AMERICAN_REGIONS or text[0] == "+"):
        phone = _north_american(shape)
    elif _THREE_DIGITS(text) and len(text) <= LONGEST_CELL_CHARS:
        phone = _parsed(text, region)
    else:
        phone = None
    return Reading(phone, None) if phone else _NOT_A_PHONE


@functools.lru_cache(maxsize=CACHED_CELLS)
def _search(cell: str, region: str) -> str | None:
    text = cell.strip()[:LONGEST_SEARCH_CHARS]
    if not _THREE_DIGITS(text) or _SCIENTIFIC(text):
        return None
    if region in _NORTH_AMERICAN_REGIONS and (shape := _NORTH_AMERICAN(text)) and shape[4] not in _SHORT_NUMBERS:
        return _north_american(shape)
    matches: Iterator[phonenumbers.PhoneNumberMatch] = iter(
        phonenumbers.PhoneNumberMatcher(text, region, phonenumbers.Leniency.VALID, MOST_SEARCH_TRIES)
    )
    for match in matches:
        phone: str = phonenumbers.format_number(match.number, phonenumbers.PhoneNumberFormat.E164)
        if len(phone) <= LONGEST_PHONE_CHARS:
            return phone
    return None


def is_region(region: str) -> bool:
    """Whether phones can be read in this region."""
    return region in phonenumbers.SUPPORTED_REGIONS


def mask(phone: str) -> str:
    """A phone (E.164) as logs, metrics and other owners may see it: `+1415*****00`. It hides at least three digits."""
    shown = min(5, max(2, len(phone) - 6))
    end = phone[-2:] if len(phone) >= _SHORTEST_WITH_END_SHOWN else ""
    return f"{phone[:shown]}{'*' * (len(phone) - shown - len(end))}{end}"


def fingerprint(phone: str, key: bytes) -> str:
    """A keyed hash of a phone (16 hexadecimal digits): it can be followed through logs, but not guessed back."""
    return hmac.new(key, phone.encode(), hashlib.sha256).hexdigest()[:16]


def _parsed(text: str, region: str) -> str | None:
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    national = phonenumbers.national_significant_number(number)
    phone = f"+{number.country_code}{national}"
    valid = len(phone) <= LONGEST_PHONE_CHARS and _valid_numbers(number.country_code or 0).fullmatch(national)
    return phone if valid else None


def _north_american(shape: re.Match[str]) -> str | None:
    """A shortcut for the commonest shapes, ten times as fast as `phonenumbers` and, as tests show, equal to it."""
    _prefix, bracketed_area, area, exchange, line = shape.groups()
    national = f"{bracketed_area or area}{exchange}{line}"
    return f"+1{national}" if _valid_numbers(1).fullmatch(national) else None


@functools.cache
def _valid_numbers(calling_code: int) -> re.Pattern[str]:
    """Every valid national number of a calling code, from the metadata of `phonenumbers`, as one pattern.

    It says the same as `is_valid_number`, which tries a dozen patterns for up to 25 regions: a region is recognised by
    its leading digits if it has any, else by its patterns; then one of its kinds of number has to match.
    """
    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(calling_code, ())
    alone = len(regions) == 1
    return re.compile("|".join(_valid_in(region, calling_code, alone=alone) for region in regions) or "(?!)")


def _valid_in(region: str, calling_code: int, *, alone: bool) -> str:
    metadata = PhoneMetadata.metadata_for_region_or_calling_code(calling_code, region)
    if metadata is None or metadata.general_desc is None:
        raise LookupError(f"phonenumbers has no metadata for {region} {calling_code}")
    kinds = (
        metadata.fixed_line, metadata.mobile, metadata.toll_free, metadata.premium_rate, metadata.shared_cost,
        metadata.personal_number, metadata.voip, metadata.pager, metadata.uan, metadata.voicemail,
    )  # fmt: skip
    patterns = [_pattern(kind) for kind in kinds if kind and kind.national_number_pattern]
    leading = f"(?={metadata.leading_digits})" if metadata.leading_digits and not alone else ""
    general = f"(?={_pattern(metadata.general_desc)}$)"
    return f"{leading}{general}(?:{'|'.join(patterns)})"


def _pattern(kind: PhoneNumberDesc) -> str:
    """Numbers of a kind: its pattern, in one of its lengths."""
    lengths = "|".join(f".{{{length}}}" for length in kind.possible_length)
    return f"(?:(?=(?:{lengths})$){kind.national_number_pattern})" if lengths else f"(?:{kind.national_number_pattern})"

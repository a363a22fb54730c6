"""Decides which columns hold phones, by the share of cells that are valid phones, with the header as a hint."""

import functools
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from schemas.phones import normalise, search
from services.ingest.reading.cells import digits, is_decoy, is_formatted, is_local_phone, is_placeholder
from services.ingest.reading.header_words import Hint, hint_of

LEAST_SHARE_BY_CONTENT: Final = 0.5
"""Least share of phones beyond chance among the filled cells of a column whose header does not say phone."""
LEAST_SHARE_BY_HEADER: Final = 0.2
"""Least share of phones, or of local phones, among the filled cells of a column whose header says phone."""
LEAST_SHARE_IF_NOTHING_ELSE: Final = 0.8
MOST_DECOYS_SHARE: Final = 0.5
MOST_SEARCHED_CELLS: Final = 100
_LONGEST_PHONE_CHARS: Final = 60
_CHANCE_LENGTHS: Final = range(6, 12)
_CHANCE_TRIES: Final = 20

_HINT_SCORES: Final[dict[Hint, float]] = {
    "phone": 2.0, "none": 0.0, "lesser_phone": 0.2, "area_code": -9.0, "result": -9.0, "other": -0.5,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Evidence:
    """The evidence of a sample of a column. Shares are of its filled cells."""

    column: int
    hint: Hint
    filled: int
    valid_share: float
    local_share: float
    beyond_chance: float
    """The share of valid phones minus the share that random digits would have in the region."""
    varied: bool
    """The numbers have several lengths and seldom repeat."""

    @property
    def score(self) -> float:
        return _HINT_SCORES[self.hint] + self.beyond_chance + 0.3 * self.local_share + 0.1 * self.valid_share

    @property
    def is_phone(self) -> bool:
        if not self.filled or self.hint in ("area_code", "result"):
            return False
        if self.hint in ("phone", "lesser_phone"):
            return max(self.valid_share, self.local_share) >= LEAST_SHARE_BY_HEADER
        needed = LEAST_SHARE_BY_CONTENT if self.hint == "none" else 0.8
        return self.beyond_chance >= needed

    @property
    def could_be_phone(self) -> bool:
        """Better than nothing where most digits are valid: numbers of many lengths, as keys and codes hardly have."""
        return self.hint == "none" and self.valid_share >= LEAST_SHARE_IF_NOTHING_ELSE and self.varied


def evidence_of(rows: Sequence[Sequence[str]], headers: Sequence[str], region: str) -> list[Evidence]:
    """One for each column that the header or any row has, in order."""
    width = max(len(headers), max(map(len, rows), default=0))
    return [_evidence(rows, column, headers, region) for column in range(width)]


def phone_columns(evidence: Sequence[Evidence]) -> list[int]:
    """The phone columns, the best first. Equal ones are ordered from the left.

    A downloaded file of failed rows has few phones in the person's own column and some in the result columns. So the
    header of the person's column decides, and result columns count only if no other column is left.
    """
    found = [one for one in evidence if one.is_phone]
    if not found and any(one.hint == "result" for one in evidence):
        found = [one for one in evidence if one.filled and one.hint in ("phone", "lesser_phone")]
    found = found or [one for one in evidence if one.could_be_phone]
    found = found or [one for one in evidence if one.hint == "result" and one.valid_share >= LEAST_SHARE_BY_CONTENT]
    return [one.column for one in sorted(found, key=lambda one: (-round(one.score, 2), one.column))]


def _evidence(rows: Sequence[Sequence[str]], column: int, headers: Sequence[str], region: str) -> Evidence:
    hint = hint_of(headers[column]) if column < len(headers) else "none"
    filled = [row[column] for row in rows if column < len(row) and not is_placeholder(row[column])]
    if not filled:
        return Evidence(column, hint, 0, 0.0, 0.0, 0.0, varied=False)
    decoys = sum(map(is_decoy, filled)) / len(filled)
    valid = [cell for cell in filled if _is_valid(cell, region)]
    valid_share = len(valid) / len(filled) if decoys < MOST_DECOYS_SHARE else 0.0
    local_share = _local_share(filled, hint, region) if decoys < MOST_DECOYS_SHARE else 0.0
    return Evidence(
        column,
        hint,
        len(filled),
        valid_share,
        local_share,
        _beyond_chance(valid, valid_share, region),
        varied=_varied(valid),
    )


def _varied(valid: Sequence[str]) -> bool:
    lengths = Counter(map(digits, valid))
    return len(lengths) >= 3 and max(lengths.values()) < 0.8 * len(valid) and len(set(valid)) > 0.5 * len(valid)


def _local_share(filled: Sequence[str], hint: Hint, region: str) -> float:
    """The share of cells that begin like a phone, or, in a column that is named so, have one within their text."""
    some = filled if hint == "none" else filled[:MOST_SEARCHED_CELLS]
    named = hint in ("phone", "lesser_phone")
    alike = sum(is_local_phone(cell) or (named and search(cell, region) is not None) for cell in some)
    return alike / len(some)


def _is_valid(cell: str, region: str) -> bool:
    return len(cell) <= _LONGEST_PHONE_CHARS and digits(cell) >= 5 and normalise(cell, region).phone is not None


def _beyond_chance(valid: Sequence[str], valid_share: float, region: str) -> float:
    """Grouped like phones they are evidence in full; bare digits only as far as random ones would not be valid too.

    Where numbers may have any length (Germany), most random digits are valid; where they have one length, few are.
    """
    if not valid:
        return 0.0
    bare = [cell for cell in valid if not is_formatted(cell)]
    by_chance = sum(_chance(cell.strip().startswith("0"), region) for cell in bare)
    return valid_share * (1 - by_chance / len(valid))


@functools.cache
def _chance(begins_with_zero: bool, region: str) -> float:
    """The share of random numbers of 6 to 11 digits that would pass for phones in the region."""
    source = random.Random(region)
    passed = tried = 0
    for length in _CHANCE_LENGTHS:
        for _ in range(_CHANCE_TRIES):
            digits_after = str(source.randrange(10 ** (length - 2), 10 ** (length - 1)))
            first = "0" if begins_with_zero else str(source.randrange(1, 10))
            passed += normalise(first + digits_after, region).phone is not None
            tried += 1
    return passed / tried

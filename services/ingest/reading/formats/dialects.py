"""Decides the delimiter and the quoting of a text: those that make the most even table."""

import csv
import io
import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import Final

from services.ingest.reading.model import SINGLE_COLUMN, Dialect
from services.ingest.reading.refusals import FileRefused

USUAL_DELIMITERS: Final = ",;\t|:^~"
RARE_DELIMITERS: Final = "\x01\x1c\x1d\x1e\x1f§¦¬¶#!*%$&=，；、｜"
SAMPLE_CHARS: Final = 64 * 1024
SAMPLE_RECORDS: Final = 300

_COLON_WITHIN = re.compile(r"://|(?<!\d)\d{1,2}:\d\d(?!\d)")
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?(?:\r\n|\r|\n)', re.IGNORECASE).match
_BACKSLASH_QUOTE = re.compile(r'[^\\,;\t|\n]\\"')
_BLANK_THEN_QUOTE = re.compile(r'[,;|:^~][ ]"')
_SINGLE_QUOTED = re.compile(r"(?:^|[,;\t|])'[^'\r\n]*'(?=[,;\t|\r\n]|$)", re.MULTILINE)
MOST_LINES_IN_CELL: Final = 20
_LEAST_SHARE_WITH_DELIMITER: Final = 0.5
_LEAST_EVENNESS_OF_RARE: Final = 0.9


@dataclass(frozen=True, slots=True)
class _Tried:
    dialect: Dialect
    score: float


def separator_line(text: str) -> str | None:
    """The delimiter that a first line `sep=;` names, as Excel writes and reads it."""
    found = _SEPARATOR_LINE(text)
    return found[1] if found else None


def dialect_of(text: str, *, wanted: str | None = None) -> Dialect:
    """The dialect of a text, judged by its first 64 k characters (without any `sep=` line).

    `wanted` fixes the delimiter; raises FileRefused `bad-delimiter` if it cannot be one.
    """
    if wanted is not None and (len(wanted) != 1 or wanted in '\r\n"'):
        raise FileRefused(
            "bad-delimiter", f"{wanted!r} cannot be a delimiter. Choose one character, for example , or ;"
        )
    sample = _whole_lines(text)
    delimiters = (
        [wanted] if wanted is not None else [d for d in USUAL_DELIMITERS + RARE_DELIMITERS if _may_delimit(d, sample)]
    )
    tried = [_tried(sample, dialect, forced=bool(wanted)) for d in delimiters for dialect in _quotings(sample, d)]
    best = max(tried, key=lambda one: one.score, default=None)
    if best is None or (best.score <= 0 and not wanted):
        return _single_column(sample)
    return best.dialect


def _may_delimit(delimiter: str, sample: str) -> bool:
    """Colons belong to times and links more often than not."""
    if delimiter != ":":
        return delimiter in sample
    return sample.count(":") > 2 * len(_COLON_WITHIN.findall(sample))


def _single_column(sample: str) -> Dialect:
    return SINGLE_COLUMN if _SINGLE_QUOTED.search(sample) is None else replace(SINGLE_COLUMN, quote="'")


def _whole_lines(text: str) -> str:
    """The sample ends with a line, unless it is the whole text; so its last record is not half a record."""
    if len(text) <= SAMPLE_CHARS:
        return text
    end = max(text.rfind("\n", 0, SAMPLE_CHARS), text.rfind("\r", 0, SAMPLE_CHARS - 1))
    return text[: end + 1] if end > 0 else text[:SAMPLE_CHARS]


def _quotings(sample: str, delimiter: str) -> list[Dialect]:
    """The kinds of quoting that the text suggests. The usual one comes first, so that it wins a draw."""
    usual = Dialect(delimiter)
    if '"' not in sample:
        return [replace(usual, quote="'"), usual][:: 1 if _SINGLE_QUOTED.search(sample) else -1]
    candidates = [usual, replace(usual, quote="")]
    if _BACKSLASH_QUOTE.search(sample):
        candidates.append(replace(usual, escape="\\"))
    if _BLANK_THEN_QUOTE.search(sample):
        candidates.append(replace(usual, skip_blank_after_delimiter=True))
    return candidates


def _tried(sample: str, dialect: Dialect, *, forced: bool) -> _Tried:
    rows = _parsed(sample, dialect)
    if not rows:
        return _Tried(dialect, 0.0)
    widths = Counter(map(len, rows))
    with_delimiter = 1 - widths[1] / len(rows)
    evenness = max((count for width, count in widths.items() if width > 1), default=0) / len(rows)
    width = max((width for width, count in widths.items() if count == evenness * len(rows)), default=1)
    rare = dialect.delimiter == ":" or dialect.delimiter in RARE_DELIMITERS
    least_evenness = _LEAST_EVENNESS_OF_RARE if rare else 0.0
    if not forced and (with_delimiter < _LEAST_SHARE_WITH_DELIMITER or evenness < least_evenness):
        return _Tried(dialect, 0.0)
    broken = bool(dialect.quote) and _is_broken(sample, dialect)
    score = (0.2 + evenness) ** 2 * (1 - 1 / (width + 1)) * _cleanness(rows, dialect, broken=broken)
    return _Tried(dialect, score * (0.5 if rare else 1.0) * (0.8 if broken else 1.0))


def _is_broken(sample: str, dialect: Dialect) -> bool:
    """Whether text follows a closing quote somewhere, as when quotes stand in the text for themselves."""
    try:
        _parsed(sample, dialect, strict=True)
    except csv.Error:
        return True
    return False


def _parsed(sample: str, dialect: Dialect, *, strict: bool = False) -> list[list[str]]:
    reader = csv.reader(
        io.StringIO(sample, newline=""),
        delimiter=dialect.delimiter,
        quotechar=dialect.quote or None,
        quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
        doublequote=not dialect.escape,
        escapechar=dialect.escape or None,
        skipinitialspace=dialect.skip_blank_after_delimiter,
        strict=strict,
    )
    return [row for row, _ in zip(reader, range(SAMPLE_RECORDS), strict=False) if row]


def _cleanness(rows: list[list[str]], dialect: Dialect, *, broken: bool) -> float:
    """The share of filled cells without left-over quotes and without a whole table swallowed in them."""
    filled = [cell for row in rows for cell in row if cell]
    suspect = sum(1 for cell in filled if _is_suspect(cell, dialect) or (broken and _is_swallowed(cell, dialect)))
    return 1 - suspect / len(filled) if filled else 1.0


def _is_swallowed(cell: str, dialect: Dialect) -> bool:
    """A stray quote makes one cell of the rest of its line and the beginning of another."""
    return dialect.delimiter in cell and ("\n" in cell or "\r" in cell)


def _is_suspect(cell: str, dialect: Dialect) -> bool:
    first, last = cell[0], cell[-1]
    if "'" == first == last and dialect.quote != "'" and len(cell) > 1:
        return True
    if '"' not in cell:
        return cell.count("\n") > MOST_LINES_IN_CELL
    at_edge = '"' in (first, last)
    unbalanced = at_edge and cell.count('"') % 2 == 1
    wrapped = first == last == '"' and not dialect.quote
    return unbalanced or wrapped or ('\\"' in cell and not dialect.escape) or cell.count("\n") > MOST_LINES_IN_CELL

"""Counts the rows and phones of a detected file: the totals by which readers are compared."""

from dataclasses import dataclass
from pathlib import Path

from services.ingest.reading.finding import find_phone
from services.ingest.reading.formats.rows import read_rows
from services.ingest.reading.model import FileLayout, FoundPhone, Limits


@dataclass(frozen=True, slots=True)
class FileTotals:
    """`filled`: rows whose first phone column is not blank; `whole`: usable rows that were not split."""

    rows: int
    filled: int
    usable: int
    split: int
    distinct_whole: int

    @property
    def whole(self) -> int:
        return self.usable - self.split


def totals_of(path: Path, detected: FileLayout, limits: Limits) -> FileTotals:
    """Read the whole file. Raises FileRefused."""
    rows = filled = usable = split = 0
    distinct: set[str] = set()
    first = detected.phone_columns[0]
    for row in read_rows(path, detected, limits):
        rows += 1
        filled += first < len(row.cells) and bool(row.cells[first].strip())
        found = find_phone(row.cells, detected)
        if isinstance(found, FoundPhone):
            usable += 1
            split += found.split
            if not found.split:
                distinct.add(found.phone)
    return FileTotals(rows, filled, usable, split, len(distinct))

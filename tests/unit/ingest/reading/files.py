"""Makes the small files that the tests of reading need; all phones are fictional."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from services.ingest.reading import FileLayout, FoundPhone, Limits, ReadOptions, find_phone
from services.ingest.reading.formats import detect, read_rows

LIMITS = Limits()


def phone(number: int) -> str:
    """A fictional phone as Americans write it; 100 of them."""
    return f"(415) 555-01{number % 100:02d}"


def people(count: int) -> list[list[str]]:
    return [["id", "name", "phone"], *([str(i), f"Person {i}", phone(i)] for i in range(count))]


def written(rows: Sequence[Sequence[str]], delimiter: str = ",", *, end: str = "\r\n", quote_all: bool = False) -> str:
    text = io.StringIO()
    if quote_all:
        csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(rows)
    else:
        csv.writer(text, delimiter=delimiter, lineterminator=end).writerows(rows)
    return text.getvalue()


def stored(folder: Path, content: bytes) -> Path:
    path = folder / "upload"
    path.write_bytes(content)
    return path


def detected_in(folder: Path, content: bytes, options: ReadOptions | None = None) -> FileLayout:
    return detect(stored(folder, content), options or ReadOptions(), LIMITS)


def cells_in(folder: Path, detected: FileLayout) -> list[tuple[str, ...]]:
    return [row.cells for row in read_rows(folder / "upload", detected, LIMITS)]


def phones_in(folder: Path, detected: FileLayout) -> list[str | None]:
    found = (find_phone(cells, detected) for cells in cells_in(folder, detected))
    return [one.phone if isinstance(one, FoundPhone) else None for one in found]

"""Owns the list of file formats: the name of each, how it is recognised, how it is detected and how its rows are read.

A new format is its own module, one entry here, and its name in `model.Format` and in `schemas.uploads`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.ingest.reading.formats.delimited_files import delimited_rows, detect_delimited
from services.ingest.reading.formats.json_lines import looks_like_json_lines
from services.ingest.reading.formats.json_lines_files import detect_json_lines, json_lines_rows
from services.ingest.reading.formats.text_files import TextFile
from services.ingest.reading.formats.workbook.recognition import WORKBOOK_MAGIC, is_workbook
from services.ingest.reading.formats.workbook.rows import workbook_rows_of
from services.ingest.reading.formats.workbook.selection import detect_workbook
from services.ingest.reading.model import Container, FileLayout, Format, Limits, ReadOptions

ReadRows = Callable[[Path, FileLayout, Limits], Iterator[tuple[int, tuple[str, ...]]]]
"""Yields each data row of a detected file: its first line from 1, and its cells."""


@dataclass(frozen=True, slots=True)
class BinaryFormat:
    """A format that is recognised by its first bytes. Its reader opens the file itself."""

    name: Format
    magic: bytes
    """The first bytes of every file of the format."""
    is_one: Callable[[Path], bool]
    """Whether an unpacked file that begins with `magic` has this format. Raises FileRefused for a close relative."""
    detect: Callable[[Path, Container, ReadOptions, Limits], FileLayout]
    rows: ReadRows


@dataclass(frozen=True, slots=True)
class TextFormat:
    """A format that is text. `detect` gets the text after its encoding was found."""

    name: Format
    is_one: Callable[[str, Limits], bool]
    """Whether a text that begins with these characters has this format. Raises FileRefused for a close relative."""
    detect: Callable[[TextFile, ReadOptions, Limits], FileLayout]
    rows: ReadRows


BINARY_FORMATS: Final = (
    BinaryFormat("xlsx", WORKBOOK_MAGIC, is_workbook, detect_workbook, workbook_rows_of),
)  # fmt: skip
TEXT_FORMATS: Final = (
    TextFormat("jsonl", looks_like_json_lines, detect_json_lines, json_lines_rows),
    TextFormat("csv", lambda _text, _limits: True, detect_delimited, delimited_rows),
)
"""In the order in which they are tried. Any text is delimited text, so that format is the last one."""
ROWS: Final[dict[Format, ReadRows]] = {
    **{binary.name: binary.rows for binary in BINARY_FORMATS},
    **{text.name: text.rows for text in TEXT_FORMATS},
}
"""The row reader of each format."""

"""Reads the filled rows of a sheet one after another."""

from collections.abc import Iterator
from typing import Final

from services.ingest.reading.containers import ByteStream
from services.ingest.reading.formats.workbook.blank_cells import BlankCells
from services.ingest.reading.formats.workbook.number_formats import as_shown
from services.ingest.reading.formats.workbook.parts import SharedTexts, Styles, unescaped
from services.ingest.reading.formats.workbook.xml_events import Handler, local_name, parse
from services.ingest.reading.model import Limits
from services.ingest.reading.refusals import FileRefused

SheetRow = tuple[int, list[str]]
"""The number of the row in the sheet, from 1, and its cells up to the last filled one."""

DEEPEST_NESTING: Final = 100
MOST_ROWS: Final = 1_048_576
_TRUTH: Final = {"0": "FALSE", "1": "TRUE", "true": "TRUE", "false": "FALSE"}


def sheet_rows(stream: ByteStream, part: str, handler: "SheetHandler", limits: Limits) -> Iterator[SheetRow]:
    """Yield the filled rows of a sheet.

    Raises FileRefused: `bad-workbook`, `too-many-columns`, `cell-too-long`, `line-too-long`.
    """
    last_filled_bytes = 0
    for read_bytes in parse(stream, handler, part, thinned=BlankCells().thinned):
        if handler.rows:
            last_filled_bytes = read_bytes
            yield from handler.rows
            handler.rows.clear()
        elif read_bytes - last_filled_bytes > limits.max_blank_sheet_bytes:
            raise FileRefused(
                "bad-workbook",
                f"After row {handler.row_number:,} the sheet holds only formatting, more than "
                f"{limits.max_blank_sheet_bytes:,} bytes of it. Copy the table to a new workbook, or save it as CSV.",
            )


class SheetHandler(Handler):
    """Collects the filled rows in `rows`. The caller empties it."""

    def __init__(self, texts: SharedTexts, styles: Styles, limits: Limits, *, from_1904: bool) -> None:
        self.rows: list[SheetRow] = []
        self.row_number = 0
        self._rows_seen = 0
        self._texts, self._styles, self._limits, self._from_1904 = texts, styles, limits, from_1904
        self._columns: dict[str, int] = {}
        self._cells: list[str] = []
        self._column = -1
        self._kind = "n"
        self._style: str | None = None
        self._pieces: list[str] = []
        self._piece_chars = 0
        self._taking = False
        self._in_reading_aid = False
        self._others_open = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if ":" in name:
            name = local_name(name)
        if name == "c":
            self._start_cell(attributes)
        elif name in ("v", "t"):
            self._taking = not self._in_reading_aid
        elif name == "row":
            self._start_row(attributes.get("r", ""))
        else:
            self._start_other(name)

    def end(self, name: str) -> None:
        if ":" in name:
            name = local_name(name)
        if name == "c":
            if self._pieces:
                self._end_cell()
        elif name in ("v", "t"):
            self._taking = False
        elif name == "row":
            self._end_row()
        else:
            self._others_open -= 1
            if name == "rPh":
                self._in_reading_aid = False

    def text(self, text: str) -> None:
        if self._taking:
            self._pieces.append(text)
            self._piece_chars += len(text)
            if self._piece_chars > self._limits.max_cell_chars:
                longest = self._limits.max_cell_chars
                detail = f"A cell in row {self.row_number} is longer than {longest:,} characters. Shorten it."
                raise FileRefused("cell-too-long", detail)

    def _start_other(self, name: str) -> None:
        self._others_open += 1
        if self._others_open > DEEPEST_NESTING:
            raise FileRefused(
                "bad-workbook", f"The sheet nests its elements more than {DEEPEST_NESTING} deep. Save it again."
            )
        if name == "rPh":
            self._in_reading_aid = True

    def _start_row(self, number: str) -> None:
        self._rows_seen += 1
        self.row_number = int(number) if number.isdecimal() and len(number) < 9 else self.row_number + 1
        if max(self.row_number, self._rows_seen) > MOST_ROWS:
            raise FileRefused("bad-workbook", f"The sheet has rows beyond {MOST_ROWS:,}, which Excel cannot have.")
        self._cells = []
        self._column = -1

    def _end_row(self) -> None:
        if any(cell.strip() for cell in self._cells):
            if sum(map(len, self._cells)) > self._limits.max_line_chars:
                raise FileRefused(
                    "line-too-long",
                    f"Row {self.row_number} of the sheet holds more than {self._limits.max_line_chars:,} characters.",
                )
            self.rows.append((self.row_number, self._cells))
        self._cells = []

    def _start_cell(self, attributes: dict[str, str]) -> None:
        reference = attributes.get("r")
        self._column = self._column + 1 if reference is None else self._column_of(reference)
        self._kind = attributes.get("t", "n")
        self._style = attributes.get("s")
        if self._pieces:
            self._pieces.clear()
        self._piece_chars = 0

    def _column_of(self, reference: str) -> int:
        letters = reference.rstrip("0123456789")
        known = self._columns.get(letters)
        if known is not None:
            return known
        column = 0
        for letter in letters:
            column = column * 26 + (ord(letter) & 31)
        if not letters.isalpha() or not letters.isascii() or len(letters) > 3 or column > self._limits.max_columns:
            most = self._limits.max_columns
            detail = f"Row {self.row_number} has a cell at {reference[:12]!r}; {most:,} columns are allowed."
            raise FileRefused("too-many-columns", detail)
        self._columns[letters] = column - 1
        return column - 1

    def _end_cell(self) -> None:
        value = self._shown("".join(self._pieces))
        self._pieces.clear()
        missing = self._column - len(self._cells)
        if missing > 0:
            self._cells.extend([""] * missing)
        if missing >= 0:
            self._cells.append(value)
        else:
            self._cells[self._column] = value

    def _shown(self, written: str) -> str:
        kind = self._kind
        if kind == "s":
            return self._texts.get(written.strip())
        if kind == "n":
            return as_shown(written.strip(), self._styles.of(self._style), from_1904=self._from_1904)
        if kind == "b":
            return _TRUTH.get(written.strip(), written)
        return unescaped(written)

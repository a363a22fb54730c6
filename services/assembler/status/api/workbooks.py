"""Writes result files as XLSX workbooks: every cell is text, and rows beyond one sheet continue in the next."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import xlsxwriter

from schemas.interface import Row
from services.assembler.status.api.result_files import RESULT_COLUMNS, ResultLayout

SHEET_ROWS: Final = 1_048_576
"""Rows of a sheet, from Microsoft's "Excel specifications and limits"."""
CELL_CHARACTERS: Final = 32_767
"""Characters of a cell, from the same page; a longer text is cut."""


class Workbook:
    """A workbook on disk that grows row by row in constant memory."""

    def __init__(self, path: Path, layout: ResultLayout, *, sheet_rows: int = SHEET_ROWS) -> None:
        self._book = xlsxwriter.Workbook(
            str(path),
            {
                "constant_memory": True,
                "strings_to_formulas": False,
                "strings_to_urls": False,
                "strings_to_numbers": False,
                "tmpdir": str(path.parent),
            },
        )
        self._bold = self._book.add_format({"bold": True})
        self._layout = layout
        self._sheet_rows = sheet_rows
        self._next = 0
        self._sheet = self._new_sheet()

    def add(self, rows: Iterable[Row]) -> None:
        for row in rows:
            if self._next == self._sheet_rows:
                self._sheet = self._new_sheet()
            self._write(self._layout.line(row), None)

    def _new_sheet(self) -> xlsxwriter.worksheet.Worksheet:
        self._sheet = self._book.add_worksheet()
        self._next = 0
        if self._layout.header is not None:
            self._write(self._layout.header, self._bold)
            self._sheet.freeze_panes(1, 0)
        first_result = min(self._layout.places)
        self._sheet.set_column(first_result, first_result + len(RESULT_COLUMNS) - 1, 16)
        return self._sheet

    def _write(self, cells: Iterable[str], style: object) -> None:
        for column, cell in enumerate(cells):
            if cell:
                self._sheet.write_string(self._next, column, _as_text(cell), style)
        self._next += 1

    def close(self) -> None:
        """Writes the end of the file; only then is it complete."""
        self._book.close()


def _as_text(cell: str) -> str:
    text = cell[:CELL_CHARACTERS]
    # XlsxWriter takes such a string for rich-text XML and would not escape it.
    return text + " " if text.startswith("<r>") and text.endswith("</r>") else text

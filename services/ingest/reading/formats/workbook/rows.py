"""Reads the data rows of a workbook as it was detected."""

from collections.abc import Iterator
from pathlib import Path

from services.ingest.reading.containers import unpacked
from services.ingest.reading.formats.workbook.parent import workbook_rows
from services.ingest.reading.model import FileLayout, Limits
from services.ingest.reading.tables import filled_width


def workbook_rows_of(path: Path, detected: FileLayout, limits: Limits) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield the number and the cells of each data row. A row of a sheet ends with its last filled cell; short rows are
    filled up to the header's width."""
    width = filled_width(detected.columns, limits)
    header_row = detected.skipped_lines + 1 if detected.header else 0
    with unpacked(path, detected.container, limits) as workbook:
        for line, cells in workbook_rows(workbook, detected.sheet or "", limits, after_row=header_row):
            yield line, (*cells, *("",) * (width - len(cells)))

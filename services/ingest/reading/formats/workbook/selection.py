"""Decides which sheet of a workbook holds the table: the first visible one whose score is close to the best score."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from services.ingest.reading.containers import unpacked
from services.ingest.reading.formats.workbook.parent import SheetSample, sample_sheets
from services.ingest.reading.formats.workbook.recognition import is_workbook
from services.ingest.reading.model import Container, FileLayout, Limits, ReadOptions
from services.ingest.reading.refusals import FileRefused
from services.ingest.reading.tables import ParserSettings, Table, TableSample, table_of

NEARLY_AS_SURE: Final = 0.6
"""Sheets of one workbook often hold similar tables. The first one wins, unless another has a much higher score."""


def detect_workbook(path: Path, container: Container, options: ReadOptions, limits: Limits) -> FileLayout:
    """Detect a workbook within its container. Raises FileRefused."""
    with unpacked(path, container, limits) as workbook:
        if container != "plain" and not is_workbook(workbook):
            raise FileRefused("bad-archive", "An archive lies within the archive. Pack the table only once.")
        samples = sample_sheets(workbook, limits)
    names = tuple(sample.name for sample in samples)
    sheet, table = _chosen(_wanted(samples, options), options)
    return table.within(ParserSettings("xlsx", "xlsx", container, sheet=sheet, sheets=names), options.region)


def _wanted(samples: Sequence[SheetSample], options: ReadOptions) -> list[SheetSample]:
    if options.sheet is not None:
        found = [sample for sample in samples if sample.name == options.sheet]
        if not found:
            names = ", ".join(sample.name for sample in samples)
            raise FileRefused("unknown-sheet", f"There is no sheet {options.sheet!r}. The sheets are {names}.")
        return found
    filled = [sample for sample in samples if sample.rows]
    if not filled:
        raise FileRefused("empty", "No sheet holds anything. Choose the file again; perhaps it was not saved.")
    return filled


def _chosen(samples: Sequence[SheetSample], options: ReadOptions) -> tuple[str, Table]:
    """Choose a visible sheet before a hidden one. A sheet without the columns that the user named is left out."""
    tables: list[tuple[SheetSample, Table]] = []
    refusal: FileRefused | None = None
    for sample in samples:
        try:
            tables.append((sample, table_of(TableSample(sample.rows), options)))
        except FileRefused as refused:
            refusal = refusal or refused
    if not tables:
        raise refusal or FileRefused("empty", "No sheet of the workbook holds anything.")
    visible = [pair for pair in tables if pair[0].visible and (pair[1].score > 0 or options.phone_columns)]
    candidates = visible or tables
    enough = NEARLY_AS_SURE * max(table.score for _, table in candidates)
    return next((sample.name, table) for sample, table in candidates if table.score >= enough)

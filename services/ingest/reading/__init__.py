"""Reads files that people upload: a file goes in, its rows with all cells and the phone of each row come out.

This package holds the parts that all file formats share. `formats` holds the formats and the two functions that read a
whole file: `detect` and `read_rows`.
"""

from services.ingest.reading.finding import find_phone
from services.ingest.reading.model import (
    ColumnSummary,
    Dialect,
    FileLayout,
    FoundPhone,
    Limits,
    ReadOptions,
    SourceRow,
    Unusable,
)
from services.ingest.reading.refusals import TITLES, FileRefused

__all__ = [
    "TITLES",
    "ColumnSummary",
    "Dialect",
    "FileLayout",
    "FileRefused",
    "FoundPhone",
    "Limits",
    "ReadOptions",
    "SourceRow",
    "Unusable",
    "find_phone",
]

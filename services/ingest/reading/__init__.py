"""Any file in, rows out: what a file is, its rows with all cells as they came, and the phone of each."""

from services.ingest.reading.detection import detect
from services.ingest.reading.finding import find_phone
from services.ingest.reading.model import (
    ColumnProfile,
    Detected,
    Dialect,
    Found,
    Limits,
    ReadOptions,
    SourceRow,
    Unusable,
)
from services.ingest.reading.refusals import TITLES, Refused
from services.ingest.reading.rows import read_rows

__all__ = [
    "TITLES",
    "ColumnProfile",
    "Detected",
    "Dialect",
    "Found",
    "Limits",
    "ReadOptions",
    "Refused",
    "SourceRow",
    "Unusable",
    "detect",
    "find_phone",
    "read_rows",
]

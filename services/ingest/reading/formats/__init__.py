"""Recognises, detects and reads each file format. `registry` is the one list of them."""

from services.ingest.reading.formats.detection import detect
from services.ingest.reading.formats.rows import read_rows

__all__ = ["detect", "read_rows"]

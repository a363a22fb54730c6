"""Decides whether a zip archive is an Excel workbook."""

import zipfile
from pathlib import Path
from typing import Final

from services.ingest.reading.containers import opened_archive, opened_entry, single_file
from services.ingest.reading.refusals import FileRefused

WORKBOOK_MAGIC: Final = b"PK\x03\x04"
_WORKBOOK_PART: Final = "xl/workbook.xml"


def is_workbook(path: Path) -> bool:
    """Whether a zip archive is an Excel workbook.

    Raises FileRefused: `bad-workbook` for other office documents, `bad-archive` for a zip of no file or several files.
    """
    with opened_archive(path) as archive:
        names = set(archive.namelist())
        if _WORKBOOK_PART in names:
            return True
        if "xl/workbook.bin" in names:
            raise FileRefused("bad-workbook", "This is a binary Excel workbook (.xlsb). Save it as .xlsx or CSV.")
        if "mimetype" in names and _first_bytes(archive, "mimetype").startswith(b"application/"):
            raise FileRefused("bad-workbook", "This is an OpenDocument file. Save it as .xlsx or CSV.")
        if "[Content_Types].xml" in names:
            raise FileRefused(
                "bad-workbook", "This office document is no Excel workbook. Save the table as .xlsx or CSV."
            )
        single_file(archive)
        return False


def _first_bytes(archive: zipfile.ZipFile, name: str) -> bytes:
    with opened_entry(archive, archive.getinfo(name)) as entry:
        return entry.read(64)

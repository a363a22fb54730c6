"""Decides what a file is and how to read it, by its content alone; what a user fixed is taken as given."""

from pathlib import Path

from schemas.phones import is_region
from services.ingest.reading.formats import recognise
from services.ingest.reading.headers import check_headers
from services.ingest.reading.model import Detected, Limits, ReadOptions
from services.ingest.reading.refusals import Refused
from services.ingest.reading.text_files import detect_text
from services.ingest.reading.workbook.selection import detect_workbook


def detect(path: Path, options: ReadOptions, limits: Limits) -> Detected:
    """Find out format, encoding, dialect, header and columns; reads the file once from end to end.

    Raises Refused with any code of `refusals.TITLES`.
    """
    if not is_region(options.region):
        raise Refused("unknown-region", f"{options.region!r} is not a region. Give two letters, for example US or GB.")
    content = recognise(path, limits)
    detect_content = detect_workbook if content.kind == "workbook" else detect_text
    detected = detect_content(path, content.container, options, limits)
    check_headers(detected.columns, limits)
    if not detected.phone_columns:
        raise Refused("no-phone-column", _no_phones(detected))
    return detected


def _no_phones(detected: Detected) -> str:
    looked_at = ", ".join(" ".join(header.split()) for header in detected.columns if header.strip())[:500]
    where = f" on sheet {detected.sheet!r}" if detected.sheet else ""
    columns = f" Columns{where}: {looked_at}." if looked_at else f" The table{where} has no header."
    return (
        f"No column has enough cells that are phones in region {detected.region}.{columns} "
        "Name the column if there is one, or choose another region."
    )

"""Decides what a file is and how to read it, by its content alone. A user's options are taken as given."""

from pathlib import Path
from typing import Final

from schemas.phones import is_region
from services.ingest.reading.formats.recognition import recognise
from services.ingest.reading.formats.registry import TEXT_FORMATS
from services.ingest.reading.formats.text_files import open_text
from services.ingest.reading.headers import check_headers
from services.ingest.reading.model import Container, FileLayout, Limits, ReadOptions
from services.ingest.reading.refusals import FileRefused

_NO_LINE_ENDS: Final = (
    "Before byte {:,} no line ends within {:,} characters. Perhaps line ends are missing there, or it is no table."
)


def detect(path: Path, options: ReadOptions, limits: Limits) -> FileLayout:
    """Find the format, encoding, dialect, header and columns. Reads the file once from end to end.

    Raises FileRefused with any code of `refusals.TITLES`.
    """
    if not is_region(options.region):
        raise FileRefused(
            "unknown-region", f"{options.region!r} is not a region. Give two letters, for example US or GB."
        )
    content = recognise(path, limits)
    if content.binary is not None:
        detected = content.binary.detect(path, content.container, options, limits)
    else:
        detected = _detect_text(path, content.container, options, limits)
    check_headers(detected.columns, limits)
    if not detected.phone_columns:
        raise FileRefused("no-phone-column", _no_phones(detected))
    return detected


def _detect_text(path: Path, container: Container, options: ReadOptions, limits: Limits) -> FileLayout:
    text = open_text(path, container, options, limits)
    beginning = text.head[: 2 * limits.max_line_chars]
    found = next(known for known in TEXT_FORMATS if known.is_one(beginning, limits))
    detected = found.detect(text, options, limits)
    if text.seen.endless:
        raise FileRefused("line-too-long", _NO_LINE_ENDS.format(text.seen.total_bytes, limits.max_line_chars))
    return detected


def _no_phones(detected: FileLayout) -> str:
    looked_at = ", ".join(" ".join(header.split()) for header in detected.columns if header.strip())[:500]
    where = f" on sheet {detected.sheet!r}" if detected.sheet else ""
    columns = f" Columns{where}: {looked_at}." if looked_at else f" The table{where} has no header."
    return (
        f"No column has enough cells that are phones in region {detected.region}.{columns} "
        "Name the column if there is one, or choose another region."
    )

"""Decides by content what a file is: its container, and whether a workbook, text, or nothing that holds a table."""

import zipfile
from pathlib import Path
from typing import Literal, NamedTuple

from services.ingest.reading.containers import open_bytes, opened_archive, opened_entry, single_file
from services.ingest.reading.model import Container, Limits
from services.ingest.reading.refusals import Refused

HEAD_BYTES = 64 * 1024
_WORKBOOK_PART = "xl/workbook.xml"

_KNOWN_BINARIES = (
    (b"%PDF-", "a PDF"), (b"\x89PNG", "a picture"), (b"\xff\xd8\xff", "a picture"), (b"GIF89a", "a picture"),
    (b"SQLite format 3\x00", "an SQLite database"), (b"\x7fELF", "a program"), (b"MZ\x90\x00", "a program"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"), (b"Rar!\x1a\x07", "a RAR archive"), (b"\xfd7zXZ\x00", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"), (b"{\\rtf", "a formatted text (RTF)"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel file (.xls) or a workbook with a password"),
)  # fmt: skip
_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_TEXT_CONTROLS = frozenset(b"\x00\t\n\x0b\x0c\r\x1a\x1b")
"""NUL (padding, UTF-16), white space, DOS end of file, and the escape of ISO-2022 encodings."""


class Content(NamedTuple):
    """The container and what is in it."""

    container: Container
    kind: Literal["workbook", "text"]


def recognise(path: Path, limits: Limits) -> Content:
    """What the file is. Raises Refused with `empty`, `binary`, `bad-archive`, `bad-workbook` or `unzipped-too-big`."""
    head = _head_of(path, "plain", limits)
    if head.startswith(b"\x1f\x8b"):
        return _within(path, "gzip", limits)
    if not head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return Content("plain", _kind_of(head))
    return Content("plain", "workbook") if is_workbook(path) else _within(path, "zip", limits)


def _within(path: Path, container: Container, limits: Limits) -> Content:
    """A packed workbook is a zip in a container; what kind of zip shows when it has been unpacked."""
    head = _head_of(path, container, limits)
    if head.startswith(b"PK\x03\x04"):
        return Content(container, "workbook")
    if head.startswith(b"\x1f\x8b"):
        raise Refused("bad-archive", "An archive lies within the archive. Pack the table only once.")
    return Content(container, _kind_of(head))


def is_workbook(path: Path) -> bool:
    """Whether a zip is an Excel workbook; other office documents and what looks like them are refused."""
    with opened_archive(path) as archive:
        names = set(archive.namelist())
        if _WORKBOOK_PART in names:
            return True
        if "xl/workbook.bin" in names:
            raise Refused("bad-workbook", "This is a binary Excel workbook (.xlsb). Save it as .xlsx or CSV.")
        if "mimetype" in names and _first_bytes(archive, "mimetype").startswith(b"application/"):
            raise Refused("bad-workbook", "This is an OpenDocument file. Save it as .xlsx or CSV.")
        if "[Content_Types].xml" in names:
            raise Refused("bad-workbook", "This office document is no Excel workbook. Save the table as .xlsx or CSV.")
        single_file(archive)
        return False


def _first_bytes(archive: zipfile.ZipFile, name: str) -> bytes:
    with opened_entry(archive, archive.getinfo(name)) as entry:
        return entry.read(64)


def _head_of(path: Path, container: Container, limits: Limits) -> bytes:
    pieces: list[bytes] = []
    wanted = HEAD_BYTES
    with open_bytes(path, container, limits) as stream:
        while wanted and (piece := stream.read(wanted)):
            pieces.append(piece)
            wanted -= len(piece)
    head = b"".join(pieces)
    if not head:
        raise Refused("empty", "The file holds no bytes. Choose the file again; perhaps it was not saved.")
    return head


def _kind_of(head: bytes) -> Literal["text"]:
    for magic, name in _KNOWN_BINARIES:
        if head.startswith(magic):
            raise Refused("binary", f"This is {name}. Upload CSV, XLSX or JSON Lines, also packed by gzip or zip.")
    if looks_binary(head):
        raise Refused("binary", "The file holds bytes that no text holds. Upload CSV, XLSX or JSON Lines.")
    return "text"


def looks_binary(head: bytes) -> bool:
    """Whether a file that begins so is no text: many NULs without being UTF-16 or -32, or many different controls."""
    if head.startswith(_BYTE_ORDER_MARKS) or looks_utf16(head):
        return False
    controls = [byte for byte in head if byte < 0x20 and byte not in _TEXT_CONTROLS]
    nul_share = head.count(0) / len(head)
    return nul_share > 0.3 or (len(set(controls)) >= 6 and len(controls) / len(head) > 0.01)


def looks_utf16(head: bytes) -> Literal["utf-16-le", "utf-16-be"] | None:
    """UTF-16 without a mark: every other byte of ASCII characters is NUL, always on the same side."""
    pairs = len(head) // 2
    low, high = head[0 : pairs * 2 : 2].count(0), head[1 : pairs * 2 : 2].count(0)
    if pairs and high >= 0.3 * pairs and low <= 0.02 * high:
        return "utf-16-le"
    return "utf-16-be" if pairs and low >= 0.3 * pairs and high <= 0.02 * low else None

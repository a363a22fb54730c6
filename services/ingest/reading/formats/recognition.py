"""Decides by content what a file is: its container, and whether it holds a binary format or text."""

from pathlib import Path
from typing import NamedTuple

from services.ingest.reading.containers import open_bytes
from services.ingest.reading.encodings import looks_utf16
from services.ingest.reading.formats.registry import BINARY_FORMATS, BinaryFormat
from services.ingest.reading.model import Container, Limits
from services.ingest.reading.refusals import FileRefused

HEAD_BYTES = 64 * 1024
_GZIP_MAGIC = b"\x1f\x8b"
_ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
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
    """The container of a file, and the format of its content; None if the content is text."""

    container: Container
    binary: BinaryFormat | None


def recognise(path: Path, limits: Limits) -> Content:
    """Find the container and whether the content is binary or text.

    Raises FileRefused with `empty`, `binary`, `bad-archive`, `bad-workbook` or `unzipped-too-big`.
    """
    head = _head_of(path, "plain", limits)
    if head.startswith(_GZIP_MAGIC):
        return _within(path, "gzip", limits)
    for binary in BINARY_FORMATS:
        if head.startswith(binary.magic) and binary.is_one(path):
            return Content("plain", binary)
    if head.startswith(_ZIP_MAGICS):
        return _within(path, "zip", limits)
    _check_text(head)
    return Content("plain", None)


def _within(path: Path, container: Container, limits: Limits) -> Content:
    """Recognise packed content by its first bytes. Its detection unpacks it and then asks `is_one`."""
    head = _head_of(path, container, limits)
    for binary in BINARY_FORMATS:
        if head.startswith(binary.magic):
            return Content(container, binary)
    if head.startswith(_GZIP_MAGIC):
        raise FileRefused("bad-archive", "An archive lies within the archive. Pack the table only once.")
    _check_text(head)
    return Content(container, None)


def _head_of(path: Path, container: Container, limits: Limits) -> bytes:
    pieces: list[bytes] = []
    wanted = HEAD_BYTES
    with open_bytes(path, container, limits) as stream:
        while wanted and (piece := stream.read(wanted)):
            pieces.append(piece)
            wanted -= len(piece)
    head = b"".join(pieces)
    if not head:
        raise FileRefused("empty", "The file holds no bytes. Choose the file again; perhaps it was not saved.")
    return head


def _check_text(head: bytes) -> None:
    for magic, name in _KNOWN_BINARIES:
        if head.startswith(magic):
            raise FileRefused("binary", f"This is {name}. Upload CSV, XLSX or JSON Lines, also packed by gzip or zip.")
    if looks_binary(head):
        raise FileRefused("binary", "The file holds bytes that no text holds. Upload CSV, XLSX or JSON Lines.")


def looks_binary(head: bytes) -> bool:
    """Whether a file that begins so is no text: many NULs without being UTF-16 or -32, or many different controls."""
    if head.startswith(_BYTE_ORDER_MARKS) or looks_utf16(head):
        return False
    controls = [byte for byte in head if byte < 0x20 and byte not in _TEXT_CONTROLS]
    nul_share = head.count(0) / len(head)
    return nul_share > 0.3 or (len(set(controls)) >= 6 and len(controls) / len(head) > 0.01)

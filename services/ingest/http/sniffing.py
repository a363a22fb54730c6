"""Decides from the first bytes whether a body cannot be a table: a picture, a program, an old binary workbook."""

HEAD_BYTES = 64 * 1024
"""How much of a body is checked before any of it is stored."""

_MAGIC = (
    (b"%PDF-", "a PDF document"),
    (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF87a", "a GIF picture"),
    (b"GIF89a", "a GIF picture"),
    (b"\x7fELF", "a program"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old binary Office file (.xls or .doc)"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"BZh91AY&SY", "a bzip2 archive"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"PAR1", "a Parquet file"),
    (b"Obj\x01", "an Avro file"),
    (b"ID3\x03", "a sound file"),
    (b"OggS\x00", "a sound file"),
)
_CONTAINERS = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b")
_UNICODE_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
_CONTROLS = bytes(set(range(32)) - set(b"\x00\t\n\v\f\r\x1a\x1b\x1c\x1d\x1e\x1f"))
_MOST_CONTROLS = 0.01
_MOST_NULS = 0.3
_LEAST_JUDGED_BYTES = 16

ADVICE = {
    "an old binary Office file (.xls or .doc)": "Save it as .xlsx or CSV and upload that.",
}


def binary_kind(head: bytes) -> str | None:
    """The name of the binary format of a body, in words; None if the body may be a table.

    `head` is the body's first `HEAD_BYTES`, or all of it. Zip and gzip pass: they may hold a table.
    """
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head.startswith(b"MZ") and b"\x00" in head:
        return "a program"
    if head.startswith(_CONTAINERS) or head.startswith(_UNICODE_MARKS):
        return None
    return "binary data" if _is_full_of_controls(head) else None


def _is_full_of_controls(head: bytes) -> bool:
    if len(head) < _LEAST_JUDGED_BYTES:
        return False
    controls = len(head) - len(head.translate(None, _CONTROLS))
    if controls > _MOST_CONTROLS * len(head) + 2:
        return True
    return head.count(0) > _MOST_NULS * len(head) and not _looks_like_utf16(head)


def _looks_like_utf16(head: bytes) -> bool:
    """UTF-16 without its mark: in most scripts of business data one byte of each pair is mostly zero."""
    even, odd = head[0::2].count(0), head[1::2].count(0)
    return max(even, odd) >= 10 * max(1, min(even, odd))

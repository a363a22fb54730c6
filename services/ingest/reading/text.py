"""Converts bytes to lines of text: every byte becomes a character, and the length of a line is bounded."""

import codecs
import io
import itertools
from collections.abc import Iterator

from services.ingest.reading.containers import CHUNK_BYTES, ByteStream
from services.ingest.reading.model import Limits

KEEP_BYTES = "phone-scrubber-keep-bytes"
FIRST_KEPT_BYTE = 0xEF00
"""A byte that its encoding cannot explain becomes U+EF00 + byte, in the private use area (the range that MirBSD's OPTU
encodings use for raw bytes). Code pages of single bytes leave some undefined (cp1252 five): these become the C1
controls of the same number, as in browsers. Both can be stored as UTF-8 and turned back."""


def keep_bytes(error: UnicodeError) -> tuple[str, int]:
    """The codec error handler: one character for each byte that could not be decoded."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    base = 0 if error.encoding == "charmap" else FIRST_KEPT_BYTE
    return "".join(chr(base + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error(KEEP_BYTES, keep_bytes)


def decoded(data: bytes, encoding: str) -> str:
    """A complete text."""
    return data.decode(encoding, KEEP_BYTES)


def text_chunks(stream: ByteStream, encoding: str, limits: Limits) -> Iterator[str]:
    """The whole stream as text, in pieces of at most `max_line_chars`."""
    decoder = codecs.getincrementaldecoder(encoding)(errors=KEEP_BYTES)
    while data := stream.read(min(CHUNK_BYTES, limits.max_line_chars)):
        yield decoder.decode(data)
    yield decoder.decode(b"", final=True)


class LineTooLong(Exception):
    """A line or an open record exceeds `max_line_chars`. `text` is a part of it."""

    def __init__(self, text: str) -> None:
        super().__init__("line too long")
        self.text = text


class Lines:
    """The lines of a text with their ends (LF, CRLF or CR, mixed), in batches that are split in C.

    The caller that joins lines to records sets `records` to the number of complete records. Raises LineTooLong when a
    line, or the lines of an open record, exceed `max_line_chars`. At most that and two chunks are in memory.
    """

    def __init__(self, chunks: Iterator[str], limits: Limits) -> None:
        self._chunks = chunks
        self._longest = limits.max_line_chars
        self.records = 0

    def __iter__(self) -> Iterator[str]:
        return itertools.chain.from_iterable(self._batches())

    def _batches(self) -> Iterator[io.StringIO]:
        tail = ""
        open_chars, records_before = 0, -1
        for chunk in self._chunks:
            text = tail + chunk
            complete = _complete_chars(text)
            tail = text[complete:]
            if len(tail) > self._longest or _first_line_chars(text) > self._longest + 2:
                raise LineTooLong(text)
            yield io.StringIO(text[:complete], newline="")
            open_chars = open_chars + complete if self.records == records_before else 0
            records_before = self.records
            if open_chars > self._longest:
                raise LineTooLong(text)
        yield io.StringIO(tail, newline="")


def _complete_chars(text: str) -> int:
    """How much of the text is lines with an end; a CR at the very end may be half of a CRLF."""
    return max(text.rfind("\n"), text.rfind("\r", 0, len(text) - 1)) + 1


def _first_line_chars(text: str) -> int:
    ends = [end for end in (text.find("\n"), text.find("\r")) if end >= 0]
    return min(ends, default=0)

"""Reads a text file once from end to end and keeps bounded samples: its head, pieces, and lines beyond ASCII."""

import codecs
import re
from dataclasses import dataclass, field

from services.ingest.reading.containers import CHUNK_BYTES, ByteStream
from services.ingest.reading.model import Limits

HEAD_BYTES = 512 * 1024
PIECE_BYTES = 16 * 1024
MOST_PIECES = 32
EVIDENCE_BYTES = 64 * 1024
MOST_BYTES_OF_CHARACTER = 4

LONGEST_ODD_LINE_BYTES = 4 * 1024
_LINE_ENDS = re.compile(rb"[\r\n]+")


@dataclass(slots=True)
class Survey:
    """The result of one pass over the bytes. `pieces` are evenly spread, and begin and end anywhere."""

    total_bytes: int = 0
    head: bytes = b""
    pieces: list[bytes] = field(default_factory=list)
    odd_lines: bytes = b""
    """Up to 64 KiB of lines that hold bytes beyond ASCII, from the beginning on."""
    utf8_characters: int = 0
    """Characters beyond ASCII that are correct UTF-8."""
    utf8_errors: int = 0
    cut_off: bool = False
    """The last character is an incomplete UTF-8 sequence, as in the first part of a bigger file."""
    endless: bool = False
    """No line ends for longer than a line may be: nothing was read beyond `total_bytes`."""


def survey(stream: ByteStream, limits: Limits) -> Survey:
    """Read everything, or until no line ends for too long. Memory stays below 2 MiB."""
    result = Survey()
    bytes_without_end = 0
    spread = _Spread()
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    while chunk := _whole_chunk(stream):
        if len(result.head) < HEAD_BYTES:
            result.head += chunk[: HEAD_BYTES - len(result.head)]
        spread.add(chunk)
        bytes_without_end = 0 if b"\n" in chunk or b"\r" in chunk else bytes_without_end + len(chunk)
        if bytes_without_end > MOST_BYTES_OF_CHARACTER * limits.max_line_chars:
            result.endless = True
            break
        result.total_bytes += len(chunk)
        if chunk.isascii() and not decoder.getstate()[0]:
            continue
        _count_utf8(result, chunk, decoder.decode(chunk))
        if len(result.odd_lines) < EVIDENCE_BYTES:
            found = (line[:LONGEST_ODD_LINE_BYTES] for line in _LINE_ENDS.split(chunk) if not line.isascii())
            result.odd_lines += b"\n".join(found)[: EVIDENCE_BYTES - len(result.odd_lines)] + b"\n"
    result.cut_off = bool(decoder.getstate()[0])
    result.pieces = spread.pieces
    return result


def _whole_chunk(stream: ByteStream) -> bytes:
    """Read a full chunk, even if an archive yields less: pieces then begin at whole UTF-16 and -32 characters."""
    chunk = stream.read(CHUNK_BYTES)
    while 0 < len(chunk) < CHUNK_BYTES and (more := stream.read(CHUNK_BYTES - len(chunk))):
        chunk += more
    return chunk


def _count_utf8(result: Survey, chunk: bytes, text: str) -> None:
    errors = text.count("\ufffd") - chunk.count(b"\xef\xbf\xbd")
    result.utf8_errors += max(0, errors)
    result.utf8_characters += len(text) - len(text.encode("ascii", "ignore")) - max(0, errors)


class _Spread:
    """Pieces at even distances from a stream of unknown length: when there are too many, every second one goes."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self._stride = 1
        self._seen = 0

    def add(self, chunk: bytes) -> None:
        if self._seen % self._stride == 0:
            self.pieces.append(chunk[:PIECE_BYTES])
        self._seen += 1
        if len(self.pieces) > MOST_PIECES:
            self.pieces = self.pieces[::2]
            self._stride *= 2

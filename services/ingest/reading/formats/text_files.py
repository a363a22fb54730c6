"""Owns the sample of a text file for detection: its decoded head, and pieces from all over it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from services.ingest.reading.containers import open_bytes
from services.ingest.reading.encodings import encoding_of
from services.ingest.reading.model import Container, Limits, ReadOptions
from services.ingest.reading.refusals import FileRefused
from services.ingest.reading.survey import Survey, survey
from services.ingest.reading.text import decoded

TOP_RECORDS: Final = 500
RECORDS_OF_PIECE: Final = 30
_SIDES: Final = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}


class TextFile:
    """A text file whose encoding is known. `head` is its beginning, cut after a line end."""

    def __init__(self, path: Path, container: Container, seen: Survey, encoding: str, limits: Limits) -> None:
        self.path = path
        self.container = container
        self.encoding = encoding
        self.seen = seen
        self.head = _whole_lines(decoded(seen.head, encoding), seen, limits)

    def pieces(self) -> Iterator[str]:
        """Yield texts from all over the file. Each begins and ends with whole lines, though perhaps within a record."""
        encoding = self.encoding
        if encoding == "utf-16":
            encoding = _SIDES.get(self.seen.head[:2], "utf-16-le")
        encoding = encoding.removesuffix("-sig")
        for piece in self.seen.pieces[1:]:
            lines = decoded(piece, encoding).splitlines(keepends=True)
            yield "".join(lines[1:-1])


def open_text(path: Path, container: Container, options: ReadOptions, limits: Limits) -> TextFile:
    """Read a text file once from end to end and find its encoding. Raises FileRefused."""
    with open_bytes(path, container, limits) as stream:
        seen = survey(stream, limits)
    encoding = encoding_of(seen, options.region, options.encoding)
    text = TextFile(path, container, seen, encoding, limits)
    if not text.head.strip("\r\n"):
        raise FileRefused(
            "empty", "The file holds nothing but line ends. Choose the file again; perhaps it was not saved."
        )
    return text


def slices(text: str, limits: Limits) -> Iterator[str]:
    """Yield the text in slices of at most `max_line_chars`."""
    step = limits.max_line_chars
    return (text[start : start + step] for start in range(0, len(text), step))


def _whole_lines(text: str, seen: Survey, limits: Limits) -> str:
    """The text up to its last line end, or all of it if the rest is too long for a line and must be refused."""
    if len(seen.head) == seen.total_bytes:
        return text
    end = max(text.rfind("\n"), text.rfind("\r", 0, len(text) - 1))
    return text[: end + 1] if len(text) - end <= limits.max_line_chars else text

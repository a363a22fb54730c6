"""Parses a request's body as it arrives into form fields and the bytes of the one file. It keeps neither in memory."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from services.ingest.http.filenames import name_in_part

_LONGEST_FIELD_BYTES = 10_000
_MOST_PARTS = 100
_LONGEST_PART_HEAD_BYTES = 16_000
_LONGEST_BOUNDARY_BYTES = 200
"""RFC 2046 allows 70."""


class UnreadableBody(Exception):
    """The body does not match its Content-Type, or ends too early. The text says how."""


@dataclass(frozen=True, slots=True)
class FieldRead:
    """A whole form field."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class FileBegan:
    """The file's part or body begins."""

    name: str


@dataclass(frozen=True, slots=True)
class FileData:
    """Some bytes of the file."""

    data: bytes


BodyEvent = FieldRead | FileBegan | FileData


async def raw_events(chunks: AsyncIterator[bytes], name: str) -> AsyncIterator[BodyEvent]:
    """A body that is the file itself."""
    yield FileBegan(name)
    async for chunk in chunks:
        if chunk:
            yield FileData(chunk)


async def form_events(chunks: AsyncIterator[bytes], content_type: str) -> AsyncIterator[BodyEvent]:
    """A `multipart/form-data` body (RFC 7578).

    Raises:
        UnreadableBody: no boundary, broken syntax, several files, too many or too long fields, or an early end.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary or len(boundary) > _LONGEST_BOUNDARY_BYTES:
        raise UnreadableBody("The Content-Type names no boundary, or a far too long one, so the form cannot be read.")
    collector = _Collector()
    try:
        # The stub wants a TypedDict.
        parser = MultipartParser(boundary, collector.callbacks())  # type: ignore[arg-type]
        async for chunk in chunks:
            parser.write(chunk)
            for event in collector.take():
                yield event
        parser.finalize()
    except MultipartParseError as error:
        raise UnreadableBody(f"The form cannot be read: {error}") from None
    if not collector.ended:
        raise UnreadableBody("The form ended before its last boundary: part of the body is missing.")


@dataclass(slots=True)
class _Collector:
    """Turns the parser's callbacks into events. A part with a file name, or named `file`, is the file."""

    ended: bool = False
    parts: int = 0
    files: int = 0
    head_bytes: int = 0
    header_name: bytearray = field(default_factory=bytearray)
    header_value: bytearray = field(default_factory=bytearray)
    disposition: bytes = b""
    field_name: str | None = None
    field_value: bytearray = field(default_factory=bytearray)
    events: list[BodyEvent] = field(default_factory=list)

    def callbacks(self) -> dict[str, object]:
        return {
            "on_part_begin": self._begin_part,
            "on_header_field": lambda data, start, end: self._take_head(self.header_name, data[start:end]),
            "on_header_value": lambda data, start, end: self._take_head(self.header_value, data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._begin_content,
            "on_part_data": self._take_content,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def take(self) -> list[BodyEvent]:
        events, self.events = self.events, []
        return events

    def _begin_part(self) -> None:
        self.parts += 1
        if self.parts > _MOST_PARTS:
            raise UnreadableBody(f"The form has more than {_MOST_PARTS} fields.")
        self.disposition = b""
        self.head_bytes = 0

    def _take_head(self, kept: bytearray, data: bytes) -> None:
        self.head_bytes += len(data)
        if self.head_bytes > _LONGEST_PART_HEAD_BYTES:
            raise UnreadableBody(f"A part of the form has headers of more than {_LONGEST_PART_HEAD_BYTES} bytes.")
        kept.extend(data)

    def _end_header(self) -> None:
        if bytes(self.header_name).strip().lower() == b"content-disposition":
            self.disposition = bytes(self.header_value)
        self.header_name.clear()
        self.header_value.clear()

    def _begin_content(self) -> None:
        options = parse_options_header(self.disposition)[1]
        name = options.get(b"name", b"").decode("utf-8", "replace")
        filename = options.get(b"filename")
        if filename is None and name != "file":
            self.field_name = name
            self.field_value.clear()
            return
        self.field_name = None
        self.files += 1
        if self.files > 1:
            raise UnreadableBody("The form holds several files; send one file per upload.")
        self.events.append(FileBegan(name_in_part(filename or b"")))

    def _take_content(self, data: bytes, start: int, end: int) -> None:
        if self.field_name is None:
            self.events.append(FileData(data[start:end]))
            return
        self.field_value.extend(data[start:end])
        if len(self.field_value) > _LONGEST_FIELD_BYTES:
            raise UnreadableBody(f"The field `{self.field_name[:50]}` is over {_LONGEST_FIELD_BYTES} bytes.")

    def _end_part(self) -> None:
        if self.field_name is not None:
            self.events.append(FieldRead(self.field_name, self.field_value.decode("utf-8", "replace")))
            self.field_name = None

    def _end(self) -> None:
        self.ended = True

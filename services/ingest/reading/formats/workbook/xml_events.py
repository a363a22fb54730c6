"""Parses the XML parts of a workbook with expat, piece by piece. Refuses document types and entities."""

from collections.abc import Callable, Iterator
from typing import Any, Final
from xml.parsers import expat

from services.ingest.reading.containers import ByteStream
from services.ingest.reading.refusals import FileRefused

PIECE_BYTES: Final = 64 * 1024
LONGEST_ELEMENT_BYTES: Final = 1024 * 1024
"""Of a tag with its attributes. Expat keeps an unfinished one and begins it anew with each piece."""


class Handler:
    """Handles the elements of a part. Subclasses override the methods that they need. See `local_name` for prefixes."""

    def start(self, name: str, attributes: dict[str, str]) -> None: ...

    def end(self, name: str) -> None: ...

    def text(self, text: str) -> None: ...


def parse(
    stream: ByteStream, handler: Handler, part: str, *, thinned: Callable[[bytes], bytes] = bytes
) -> Iterator[int]:
    """Parse a part; yields the bytes read so far after each piece, which `thinned` may make shorter.

    Raises FileRefused `bad-workbook`.
    """
    parser = _parser(handler, part)
    read_bytes = parsed_bytes = 0
    try:
        while piece := stream.read(PIECE_BYTES):
            read_bytes += len(piece)
            thin = thinned(piece)
            parser.Parse(thin, False)
            parsed_bytes += len(thin)
            if parsed_bytes - parser.CurrentByteIndex > LONGEST_ELEMENT_BYTES:
                detail = f"{part} holds a single element of more than {LONGEST_ELEMENT_BYTES:,} bytes. Save it again."
                raise FileRefused("bad-workbook", detail)
            yield read_bytes
        parser.Parse(thinned(b""), True)
    except expat.ExpatError as error:
        if error.code == expat.errors.codes[expat.errors.XML_ERROR_NO_MEMORY]:
            raise MemoryError from error
        raise FileRefused(
            "bad-workbook", f"{part} is damaged ({error}). Open the workbook and save it again."
        ) from error
    yield read_bytes


def parse_all(stream: ByteStream, handler: Handler, part: str) -> None:
    for _ in parse(stream, handler, part):
        pass


def _parser(handler: Handler, part: str) -> Any:
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse_document_type(part)
    parser.EntityDeclHandler = _refuse_document_type(part)
    parser.StartElementHandler = handler.start
    parser.EndElementHandler = handler.end
    parser.CharacterDataHandler = handler.text
    return parser


def local_name(name: str) -> str:
    """`x:row` and `row` are the same: few writers use a prefix, and the namespaces do not matter here."""
    return name.rpartition(":")[2]


def _refuse_document_type(part: str) -> Callable[..., None]:
    def refuse(*_declaration: Any) -> None:
        detail = f"{part} declares a document type or entities, which no workbook needs. Save it again."
        raise FileRefused("bad-workbook", detail)

    return refuse

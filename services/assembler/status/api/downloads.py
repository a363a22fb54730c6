"""Streams result files from short key-set reads; the name and a header of an incomplete file say that it is."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from email.utils import encode_rfc2231
from functools import partial
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

from pydantic import Field
from starlette.responses import Response, StreamingResponse

from schemas.interface import Row
from schemas.lookups import LineType, Verdict
from schemas.rows import RowState
from schemas.uploads import Detected
from services.assembler.domain.stored import RowFilter, StoredUpload
from services.assembler.domain.views import parsed, row_view
from services.assembler.status.api.endpoints import ApiRequest, Endpoint, EndpointHandler
from services.assembler.status.api.result_files import CsvWriter, ResultLayout, jsonl_chunk, layout_of, result_name
from services.assembler.status.api.workbooks import Workbook
from services.assembler.status.backend import Backend
from services.assembler.status.inputs import Bounded, Input, Nothing
from services.assembler.store import reads
from services.assembler.store.connections import Connection

T = TypeVar("T")
PAGE_ROWS: Final = 2000
FILE_CHUNK_BYTES: Final = 256 * 1024
CSV_TYPE: Final = "text/csv; charset=utf-8"
XLSX_TYPE: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
JSONL_TYPE: Final = "application/jsonl"


class ResultQuery(Input):
    rows: Annotated[tuple[RowState | Literal["all"], ...], Bounded] = Field(
        ("all",), description="`all`, or states of rows to include"
    )
    verdict: Annotated[tuple[Verdict, ...], Bounded] = Field((), description="Only rows with these verdicts")
    line_type: Annotated[tuple[LineType, ...], Bounded] = Field((), description="Only rows with these line types")
    excel_safe: bool = Field(False, description="Escape cells that a spreadsheet would run as formulas")

    def wanted(self) -> RowFilter:
        states = tuple(state for state in self.rows if state != "all")
        return RowFilter(() if "all" in self.rows else states, self.verdict, self.line_type)


async def row_chunks(
    backend: Backend, record: StoredUpload, wanted: RowFilter, use: Callable[[list[Row]], T]
) -> AsyncIterator[T]:
    """The results of `use` on all wanted rows in order, `PAGE_ROWS` at a time, each with its own short read.

    `use` runs in the thread that reads: turning rows into text is most of the work, and must not block the event loop.
    """
    cancelled = record.cancelled_at is not None

    def read_and_use(connection: Connection, after: int) -> tuple[T, int] | None:
        stored = reads.rows_page(connection, record, wanted=wanted, after_row=after, limit=PAGE_ROWS)
        if not stored:
            return None
        return use([row_view(row, cancelled=cancelled) for row in stored]), stored[-1].row

    after = 0
    while (found := await backend.database.read(partial(read_and_use, after=after))) is not None:
        made, after = found
        yield made


async def csv_file(request: ApiRequest[ResultQuery, Nothing]) -> Response:
    record = await request.backend.uploads.find(request.identity, request.upload_id)
    detected = _detected(record)
    layout = await _layout(request.backend, record, detected)
    delimiter = (detected.delimiter if detected is not None else None) or ","
    writer = CsvWriter(layout, delimiter=delimiter, safe=request.query.excel_safe)
    return _streamed(request, record, "csv", CSV_TYPE, head=writer.head(), to_bytes=writer.chunk)


async def jsonl_file(request: ApiRequest[ResultQuery, Nothing]) -> Response:
    record = await request.backend.uploads.find(request.identity, request.upload_id)
    return _streamed(request, record, "jsonl", JSONL_TYPE, head=b"", to_bytes=jsonl_chunk)


def _streamed(
    request: ApiRequest[ResultQuery, Nothing],
    record: StoredUpload,
    extension: str,
    media_type: str,
    *,
    head: bytes,
    to_bytes: Callable[[list[Row]], bytes],
) -> Response:
    wanted = request.query.wanted()

    async def body() -> AsyncIterator[bytes]:
        if head:
            yield head
        async for chunk in row_chunks(request.backend, record, wanted, to_bytes):
            yield chunk

    return StreamingResponse(body(), 200, file_headers(record, extension), media_type)


async def xlsx_file(request: ApiRequest[ResultQuery, Nothing]) -> Response:
    """Builds the workbook in a temporary file, as its table of contents comes last, and then streams it."""
    record = await request.backend.uploads.find(request.identity, request.upload_id)
    wanted = request.query.wanted()
    folder = tempfile.TemporaryDirectory(prefix="scrub-xlsx-")
    path = Path(folder.name) / "result.xlsx"
    try:
        await _build(request.backend, record, wanted, path)
    except BaseException:
        folder.cleanup()
        raise

    async def body() -> AsyncIterator[bytes]:
        try:
            with path.open("rb") as file:
                while chunk := await asyncio.to_thread(file.read, FILE_CHUNK_BYTES):
                    yield chunk
        finally:
            folder.cleanup()

    headers = file_headers(record, "xlsx") | {"Content-Length": str(path.stat().st_size)}
    return StreamingResponse(body(), 200, headers, XLSX_TYPE)


async def _build(backend: Backend, record: StoredUpload, wanted: RowFilter, path: Path) -> None:
    layout = await _layout(backend, record, _detected(record))
    book = await asyncio.to_thread(Workbook, path, layout)
    async for _ in row_chunks(backend, record, wanted, book.add):
        pass
    await asyncio.to_thread(book.close)


async def _layout(backend: Backend, record: StoredUpload, detected: Detected | None) -> ResultLayout:
    """The positions of the result columns. The width of rows from another system is unknown, so all are read."""
    if detected is not None and detected.width is not None:
        return layout_of(detected, width=detected.width)
    width = 0
    async for widest in row_chunks(backend, record, RowFilter(), _widest):
        width = max(width, widest)
    return layout_of(detected, width=width)


def _widest(rows: list[Row]) -> int:
    return max(len(row.cells) for row in rows)


def _detected(record: StoredUpload) -> Detected | None:
    return parsed(Detected, record.detected)


def file_headers(record: StoredUpload, extension: str) -> dict[str, str]:
    """The headers of a download: a file that lacks rows says so in its name and in `Scrub-Partial`."""
    is_partial = record.state != "completed"
    name = result_name(record.name or "", extension=extension, partial=is_partial)
    headers = {"Content-Disposition": content_disposition(name), "Cache-Control": "no-store"}
    return headers | {"Scrub-Partial": "true"} if is_partial else headers


def content_disposition(name: str) -> str:
    """`attachment` with the name: in ASCII for old clients (RFC 6266), in full by RFC 8187 where it needs more."""
    name = "".join(character for character in name if character.isprintable()).replace("/", "_").replace("\\", "_")
    plain = name.encode("ascii", "replace").decode().replace("?", "_").replace('"', "_").replace("%", "_")
    if plain == name:
        return f'attachment; filename="{name}"'
    return f'attachment; filename="{plain}"; filename*={encode_rfc2231(name, "UTF-8")}'


def _download(extension: str, handler: EndpointHandler, media_type: str) -> Endpoint:
    return Endpoint(
        "GET",
        f"/v1/uploads/{{upload_id}}/result.{extension}",
        handler,
        f"The enriched file as {extension.upper()}, as far as it is known",
        {200: ("The file; `Scrub-Partial: true` while rows are missing", media_type.partition(";")[0])},
        query=ResultQuery,
        problems=(404,),
    )


ENDPOINTS = (
    _download("csv", csv_file, CSV_TYPE),
    _download("xlsx", xlsx_file, XLSX_TYPE),
    _download("jsonl", jsonl_file, JSONL_TYPE),
)

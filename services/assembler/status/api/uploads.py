"""The JSON calls that read: the list of uploads, one upload (with long poll and ETag), its rows."""

import hashlib
import time
from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from schemas.codec import encode
from schemas.interface import Page, Row, Upload
from schemas.lookups import LineType, Verdict
from schemas.rows import RowState
from schemas.uploads import FINISHED, UploadState
from schemas.values import Owner
from services.assembler.domain.stored import RowFilter, UploadCursor
from services.assembler.domain.stored_numbers import to_micros
from services.assembler.domain.views import row_view
from services.assembler.status.api.calls import Ask, Call, json_answer
from services.assembler.status.api.cursors import (
    RowsCursor,
    UploadsCursor,
    cursor_numbers,
    encode_cursor,
    number_and_id,
)
from services.assembler.status.backend import Backend
from services.assembler.status.inputs import Input, Nothing, Some
from services.assembler.store import reads
from services.runtime.identity import Identity

LONGEST_WAIT_SECONDS = 60
LOOK_AGAIN_SECONDS = 2.0


class ListQuery(Input):
    state: Annotated[tuple[UploadState, ...], Some] = Field(
        (), description="Only uploads in these states; repeat or comma-separate"
    )
    owner: Owner | None = Field(None, description="Only this owner's uploads; for admins")
    cursor: UploadsCursor | None = None
    limit: Annotated[int, Field(ge=1, le=200, description="Most uploads on a page")] = 50


class OneQuery(Input):
    wait: Annotated[float, Field(ge=0, le=LONGEST_WAIT_SECONDS, description="Seconds to wait for its end")] = 0


class RowsQuery(Input):
    state: Annotated[tuple[RowState, ...], Some] = Field((), description="Only rows in these states")
    verdict: Annotated[tuple[Verdict, ...], Some] = Field((), description="Only rows with these verdicts")
    line_type: Annotated[tuple[LineType, ...], Some] = Field((), description="Only rows with these line types")
    cursor: RowsCursor | None = None
    limit: Annotated[int, Field(ge=1, le=1000, description="Most rows on a page")] = 200


async def uploads_page(backend: Backend, identity: Identity, query: ListQuery) -> tuple[list[Upload], str | None]:
    """A page of the uploads that the identity may see, newest first, and the cursor of the next one."""
    after = None
    if query.cursor is not None:
        after = UploadCursor(*number_and_id(query.cursor))
    owner = query.owner if identity.admin else identity.owner
    records = await backend.read(
        lambda connection: reads.list_uploads(
            connection, owner=owner, states=query.state, after=after, limit=query.limit + 1
        )
    )
    if not identity.admin and query.owner not in (None, identity.owner):
        return [], None
    following = None
    if len(records) > query.limit:
        last = records[query.limit - 1]
        assert last.created_at is not None
        following = encode_cursor(to_micros(last.created_at), last.id)
    return await backend.views(records[: query.limit]), following


async def list_uploads(ask: Ask[ListQuery, Nothing]) -> Response:
    items, following = await uploads_page(ask.backend, ask.identity, ask.query)
    return json_answer(Page[Upload](items=tuple(items), next=following))


async def one_upload(ask: Ask[OneQuery, Nothing]) -> Response:
    """The upload; with `wait`, as soon as it is finished or the time is over."""
    record = await ask.backend.find(ask.identity, ask.upload_id)
    deadline = time.monotonic() + ask.query.wait
    with ask.backend.hub.watch(record.id) as watcher:
        while record.state not in FINISHED and (left := deadline - time.monotonic()) > 0:
            await watcher.wait(min(left, LOOK_AGAIN_SECONDS))
            record = await ask.backend.find(ask.identity, ask.upload_id)
    return tagged_answer(ask.request, await ask.backend.view(record))


def tagged_answer(request: Request, upload: Upload) -> Response:
    """The upload with its ETag, or 304 when the client has exactly this one."""
    body = encode(upload)
    tag = f'"{hashlib.sha256(body).hexdigest()[:24]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if upload.state not in FINISHED:
        headers["Retry-After"] = "1"
    known = [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]
    if tag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(body, 200, headers, "application/json")


async def rows_page(
    backend: Backend, identity: Identity, upload_id: str, query: RowsQuery
) -> tuple[list[Row], str | None]:
    """A page of rows by row number, and the cursor of the next one."""
    record = await backend.find(identity, upload_id)
    after = 0 if query.cursor is None else cursor_numbers(query.cursor)[0]
    wanted = RowFilter(query.state, query.verdict, query.line_type)
    stored = await backend.read(
        lambda connection: reads.rows_page(connection, record, wanted=wanted, after_row=after, limit=query.limit + 1)
    )
    rows = [row_view(row, cancelled=record.cancelled_at is not None) for row in stored[: query.limit]]
    following = encode_cursor(rows[-1].row) if len(stored) > query.limit else None
    return rows, following


async def list_rows(ask: Ask[RowsQuery, Nothing]) -> Response:
    rows, following = await rows_page(ask.backend, ask.identity, ask.upload_id, ask.query)
    return json_answer(Page[Row](items=tuple(rows), next=following))


CALLS = (
    Call(
        "GET",
        "/v1/uploads",
        list_uploads,
        "The uploads, newest first",
        {200: ("A page of uploads", Page[Upload])},
        query=ListQuery,
    ),
    Call(
        "GET",
        "/v1/uploads/{upload_id}",
        one_upload,
        "One upload; with `wait`, as soon as it is finished",
        {200: ("The upload", Upload), 304: ("Unchanged since the ETag sent", None)},
        query=OneQuery,
        problems=(404,),
    ),
    Call(
        "GET",
        "/v1/uploads/{upload_id}/rows",
        list_rows,
        "Its rows, with their results as far as they are known",
        {200: ("A page of rows", Page[Row])},
        query=RowsQuery,
        problems=(404,),
    ),
)

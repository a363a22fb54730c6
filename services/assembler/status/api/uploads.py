"""The JSON endpoints that read: the list of uploads, one upload (with long poll and ETag), its rows."""

import hashlib
import time
from typing import Annotated, Final

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from schemas.codec import encode
from schemas.interface import Page, Row, Upload
from schemas.uploads import FINISHED
from services.assembler.status.api.endpoints import ApiRequest, Endpoint, json_answer
from services.assembler.status.inputs import Input, Nothing
from services.assembler.status.operations.listings import ListQuery, RowsQuery, rows_page, uploads_page

LONGEST_WAIT_SECONDS: Final = 60
LOOK_AGAIN_SECONDS: Final = 2.0


class OneQuery(Input):
    wait: Annotated[float, Field(ge=0, le=LONGEST_WAIT_SECONDS, description="Seconds to wait for its end")] = 0


async def list_uploads(request: ApiRequest[ListQuery, Nothing]) -> Response:
    items, following = await uploads_page(request.backend, request.identity, request.query)
    return json_answer(Page[Upload](items=tuple(items), next=following))


async def one_upload(request: ApiRequest[OneQuery, Nothing]) -> Response:
    """The upload; with `wait`, when it is finished or the time is over."""
    record = await request.backend.uploads.find(request.identity, request.upload_id)
    deadline = time.monotonic() + request.query.wait
    with request.backend.hub.watch(record.id) as watcher:
        while record.state not in FINISHED and (left := deadline - time.monotonic()) > 0:
            await watcher.wait(min(left, LOOK_AGAIN_SECONDS))
            record = await request.backend.uploads.find(request.identity, request.upload_id)
    return tagged_answer(request.http, await request.backend.views.one(record))


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


async def list_rows(request: ApiRequest[RowsQuery, Nothing]) -> Response:
    rows, following = await rows_page(request.backend, request.identity, request.upload_id, request.query)
    return json_answer(Page[Row](items=tuple(rows), next=following))


ENDPOINTS = (
    Endpoint(
        "GET",
        "/v1/uploads",
        list_uploads,
        "The uploads, newest first",
        {200: ("A page of uploads", Page[Upload])},
        query=ListQuery,
    ),
    Endpoint(
        "GET",
        "/v1/uploads/{upload_id}",
        one_upload,
        "One upload; with `wait`, as soon as it is finished",
        {200: ("The upload", Upload), 304: ("Unchanged since the ETag sent", None)},
        query=OneQuery,
        problems=(404,),
    ),
    Endpoint(
        "GET",
        "/v1/uploads/{upload_id}/rows",
        list_rows,
        "Its rows, with their results as far as they are known",
        {200: ("A page of rows", Page[Row])},
        query=RowsQuery,
        problems=(404,),
    ),
)

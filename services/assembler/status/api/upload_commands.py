"""The JSON endpoints that change uploads: each decides, writes events, and answers 202 with the upload."""

from typing import Any

from starlette.responses import Response

from schemas.interface import Upload
from services.assembler.status.api.endpoints import ApiRequest, Endpoint, json_answer
from services.assembler.status.inputs import Nothing
from services.assembler.status.operations.clear import ClearBody, Cleared, clear
from services.assembler.status.operations.command_execution import execute
from services.assembler.status.operations.reprocess import reprocess
from services.assembler.status.operations.upload_commands import COMMANDS, OptionsBody, PriorityBody

_ONE_UPLOAD = "/v1/uploads/{upload_id}"


async def _execute(name: str, request: ApiRequest[Nothing, Any]) -> Upload:
    decide = COMMANDS[name].with_input(request.body)
    return await execute(request.backend, request.identity, request.upload_id, decide)


def _command(name: str) -> Endpoint:
    """The endpoint of a command that has an address of its own."""

    async def handler(request: ApiRequest[Nothing, Any]) -> Response:
        return json_answer(await _execute(name, request), 202)

    return Endpoint(
        "POST",
        f"{_ONE_UPLOAD}/{name}",
        handler,
        COMMANDS[name].summary,
        {202: ("The upload", Upload)},
        body=COMMANDS[name].body,
        problems=(404, 409),
    )


async def _change_priority(request: ApiRequest[Nothing, PriorityBody]) -> Response:
    upload = await _execute("priority", request)
    return json_answer(upload.model_copy(update={"priority": request.body.priority}), 202)


async def _delete(request: ApiRequest[Nothing, Nothing]) -> Response:
    return json_answer(await _execute("delete", request), 202)


async def _reprocess(request: ApiRequest[Nothing, OptionsBody]) -> Response:
    upload = await reprocess(
        request.backend, request.identity, request.upload_id, request.body, request.idempotency_key
    )
    return json_answer(upload, 202, {"Location": upload.links.self})


async def _clear(request: ApiRequest[Nothing, ClearBody]) -> Response:
    return json_answer(await clear(request.backend, request.identity, request.body), 202)


ENDPOINTS = (
    *(_command(name) for name in ("start", "options", "pause", "resume", "cancel", "retry-failed")),
    Endpoint(
        "POST",
        f"{_ONE_UPLOAD}/reprocess",
        _reprocess,
        "Run the stored file again as a new upload, with other options if wanted",
        {202: ("The new upload", Upload)},
        body=OptionsBody,
        idempotent=True,
        problems=(404, 409, 410),
    ),
    Endpoint(
        "PATCH",
        _ONE_UPLOAD,
        _change_priority,
        COMMANDS["priority"].summary,
        {202: ("The upload", Upload)},
        body=COMMANDS["priority"].body,
        problems=(404, 409),
    ),
    Endpoint(
        "DELETE",
        _ONE_UPLOAD,
        _delete,
        COMMANDS["delete"].summary,
        {202: ("The upload as it was", Upload)},
        problems=(404,),
    ),
    Endpoint(
        "POST",
        "/v1/uploads/clear",
        _clear,
        "Delete old uploads",
        {202: ("How many", Cleared)},
        body=ClearBody,
    ),
)

"""The JSON endpoints for the queue: its present state, pausing and resuming all calls, a sweep at once."""

from starlette.responses import Response

from schemas.interface import Queue, Sweep
from services.assembler.status.api.endpoints import ApiRequest, Endpoint, json_answer
from services.assembler.status.inputs import Nothing
from services.assembler.status.operations import queue_control
from services.assembler.status.queue_view import queue_of


async def get_queue(request: ApiRequest[Nothing, Nothing]) -> Response:
    return json_answer(await queue_of(request.backend, request.identity))


async def pause_all(request: ApiRequest[Nothing, Nothing]) -> Response:
    return json_answer(await queue_control.set_paused(request.backend, request.identity, paused=True), 202)


async def resume_all(request: ApiRequest[Nothing, Nothing]) -> Response:
    return json_answer(await queue_control.set_paused(request.backend, request.identity, paused=False), 202)


async def sweep(request: ApiRequest[Nothing, Nothing]) -> Response:
    return json_answer(await queue_control.sweep(request.backend, request.identity), 202)


ENDPOINTS = (
    Endpoint("GET", "/v1/queue", get_queue, "The queue, the limit and the parts", {200: ("The queue", Queue)}),
    Endpoint(
        "POST",
        "/v1/queue/pause",
        pause_all,
        "Make no calls at all",
        {202: ("The queue", Queue)},
        admin=True,
    ),
    Endpoint(
        "POST",
        "/v1/queue/resume",
        resume_all,
        "Go on making calls",
        {202: ("The queue", Queue)},
        admin=True,
    ),
    Endpoint(
        "POST",
        "/v1/queue/sweep",
        sweep,
        "Find rows that nobody works on and publish them again",
        {202: ("What it did", Sweep)},
        admin=True,
    ),
)

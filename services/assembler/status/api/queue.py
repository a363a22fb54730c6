"""The JSON calls for the queue: what it is, pausing and resuming all calls, a sweep at once."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from starlette.responses import Response

from schemas import topics
from schemas.codec import encode
from schemas.interface import Queue, Sweep
from schemas.lookups import LookupCommand
from schemas.upload_events import OperatorActed
from services.assembler.status.api.calls import Ask, Call, json_answer
from services.assembler.status.backend import Backend
from services.assembler.status.inputs import Nothing
from services.assembler.status.queue_view import queue_of
from services.assembler.store import sweeps
from services.runtime.identity import Identity
from services.runtime.problems import ProblemError

SWEEP_SECONDS: Final = 60.0
PAUSE_VISIBLE_SECONDS: Final = 2.0


async def get_queue(ask: Ask[Nothing, Nothing]) -> Response:
    return json_answer(await queue_of(ask.backend, ask.identity))


async def set_paused(backend: Backend, identity: Identity, *, paused: bool) -> Queue:
    """Asks the gate to make no calls at all, or to go on; returns the queue as the gate then reports it."""
    now = datetime.now(UTC)
    action: Final = "pause_calls" if paused else "resume_calls"
    await backend.publish_event(OperatorActed(at=now, by=identity.owner, action=action))
    command = LookupCommand(paused=paused, by=identity.owner, at=now)
    await backend.publish(topics.LOOKUP_COMMANDS, "lookups", encode(command))
    deadline = time.monotonic() + PAUSE_VISIBLE_SECONDS
    queue = await queue_of(backend, identity)
    while (queue.state == "paused") != paused and queue.state != "no_gate" and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
        queue = await queue_of(backend, identity)
    return queue


async def pause_all(ask: Ask[Nothing, Nothing]) -> Response:
    return json_answer(await set_paused(ask.backend, ask.identity, paused=True), 202)


async def resume_all(ask: Ask[Nothing, Nothing]) -> Response:
    return json_answer(await set_paused(ask.backend, ask.identity, paused=False), 202)


async def sweep_now(backend: Backend, identity: Identity) -> Sweep:
    """Has the join look for rows that nobody works on and publish them again; returns what it did.

    Raises:
        ProblemError: 503 when it could not be done, or not in time.
    """
    sweep_id = str(uuid4())
    asked = OperatorActed(at=datetime.now(UTC), by=identity.owner, action="sweep", sweep_id=sweep_id)
    await backend.publish_event(asked)
    deadline = time.monotonic() + SWEEP_SECONDS
    while time.monotonic() < deadline:
        found = await backend.read(lambda connection: sweeps.get_sweep(connection, sweep_id))
        if found is not None and found.problem is not None:
            raise _no_sweep(found.problem)
        if found is not None and found.finished_at is not None:
            return Sweep(
                examined=found.examined or 0,
                republished=found.republished or 0,
                completed=found.completed or 0,
                failed=found.failed or 0,
            )
        await asyncio.sleep(0.2)
    raise _no_sweep("The join has not done it within a minute; it sweeps by itself as soon as it can.")


def _no_sweep(detail: str) -> ProblemError:
    return ProblemError(503, "no-sweep", "The sweep could not be done", detail, headers={"Retry-After": "30"})


async def sweep(ask: Ask[Nothing, Nothing]) -> Response:
    return json_answer(await sweep_now(ask.backend, ask.identity), 202)


CALLS = (
    Call("GET", "/v1/queue", get_queue, "The queue, the limit and the parts", {200: ("The queue", Queue)}),
    Call(
        "POST",
        "/v1/queue/pause",
        pause_all,
        "Make no calls at all",
        {202: ("The queue", Queue)},
        admin=True,
    ),
    Call(
        "POST",
        "/v1/queue/resume",
        resume_all,
        "Go on making calls",
        {202: ("The queue", Queue)},
        admin=True,
    ),
    Call(
        "POST",
        "/v1/queue/sweep",
        sweep,
        "Find rows that nobody works on and publish them again",
        {202: ("What it did", Sweep)},
        admin=True,
    ),
)

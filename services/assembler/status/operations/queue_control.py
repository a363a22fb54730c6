"""Pauses and resumes all calls, and has the join sweep at once."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from schemas import topics
from schemas.codec import encode
from schemas.interface import Queue, Sweep
from schemas.lookups import LookupCommand
from schemas.upload_events import OperatorActed
from services.assembler.status.backend import Backend
from services.assembler.status.queue_view import queue_of
from services.assembler.store import sweeps
from services.runtime.identity import Identity
from services.runtime.problems import ProblemError

SWEEP_SECONDS: Final = 60.0
PAUSE_VISIBLE_SECONDS: Final = 2.0


async def set_paused(backend: Backend, identity: Identity, *, paused: bool) -> Queue:
    """Asks the gate to stop or to resume all calls; returns the queue once the gate reports the change.

    After two seconds without that report, the queue is returned in its present state.
    """
    now = datetime.now(UTC)
    action: Final = "pause_calls" if paused else "resume_calls"
    await backend.writer.publish_event(OperatorActed(at=now, by=identity.owner, action=action))
    command = LookupCommand(paused=paused, by=identity.owner, at=now)
    await backend.writer.publish(topics.LOOKUP_COMMANDS, "lookups", encode(command))
    deadline = time.monotonic() + PAUSE_VISIBLE_SECONDS
    queue = await queue_of(backend, identity)
    while (queue.state == "paused") != paused and queue.state != "no_gate" and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
        queue = await queue_of(backend, identity)
    return queue


async def sweep(backend: Backend, identity: Identity) -> Sweep:
    """Has the join look for rows that nobody works on and publish them again; returns its counts.

    Raises:
        ProblemError: 503 when the sweep failed, or did not end in time.
    """
    sweep_id = str(uuid4())
    asked = OperatorActed(at=datetime.now(UTC), by=identity.owner, action="sweep", sweep_id=sweep_id)
    await backend.writer.publish_event(asked)
    deadline = time.monotonic() + SWEEP_SECONDS
    while time.monotonic() < deadline:
        found = await backend.database.read(lambda connection: sweeps.get_sweep(connection, sweep_id))
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
    raise _no_sweep("The join has not finished it within a minute. It sweeps by itself as soon as it can.")


def _no_sweep(detail: str) -> ProblemError:
    return ProblemError(503, "no-sweep", "The sweep could not be done", detail, headers={"Retry-After": "30"})

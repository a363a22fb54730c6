"""Builds the queue as people see it, from the gate's last status, the parts' last statuses and SQL's totals."""

from datetime import UTC, datetime

from schemas.interface import Limit, Queue, QueuedCall, QueuedUpload, Why
from schemas.lookups import GateState, LaneStatus, LookupStatus
from schemas.uploads import Counts
from services.assembler.status.backend import Backend
from services.assembler.status.liveness import is_alive, part_view
from services.assembler.status.why import SystemStatus, why_of
from services.assembler.store import reads
from services.runtime.identity import Identity


async def queue_of(backend: Backend, identity: Identity) -> Queue:
    """The queue. Everybody sees the figures of the whole queue; only admins see the uploads of other owners in it."""
    totals = await backend.database.read(reads.queue_totals)
    now = datetime.now(UTC)
    system = backend.hub.system_status()
    lookup = system.lookup
    lanes = [] if lookup is None else [lane for lane in lookup.lanes if identity.may_see(lane.owner)]
    visible = {lane.upload_id for lane in lanes}
    oldest = None if lookup is None else lookup.oldest_wanted_at
    return Queue(
        state=gate_state(system, now),
        limit=_limit(backend, lookup),
        used_last_window=0 if lookup is None else lookup.used_last_window,
        calls_last_minute=0 if lookup is None else lookup.calls_last_minute,
        pending=0 if lookup is None else lookup.pending,
        in_progress=0 if lookup is None else lookup.in_flight,
        completed=totals.answered,
        failed=totals.failed,
        retries=totals.retries,
        dead_letters=totals.dead_letters,
        oldest_wait_seconds=None if oldest is None else max(0.0, (now - oldest).total_seconds()),
        next=()
        if lookup is None
        else tuple(
            QueuedCall(upload_id=call.upload_id, phone_masked=call.phone_masked)
            for call in lookup.next
            if call.upload_id in visible
        ),
        uploads=tuple(_queued(lane, system, now) for lane in sorted(lanes, key=lambda lane: lane.position)),
        parts=tuple(part_view(part, now) for part in system.parts),
    )


def gate_state(system: SystemStatus, now: datetime) -> GateState:
    """The state that the active gate last reported; `no_gate` when no gate is alive."""
    alive = any(part.role == "gate" and is_alive(part, now) for part in system.parts)
    return system.lookup.state if system.lookup is not None and alive else "no_gate"


def _limit(backend: Backend, lookup: LookupStatus | None) -> Limit:
    if lookup is None:
        return Limit(calls=backend.settings.rate, window_seconds=backend.settings.window_seconds)
    return Limit(calls=lookup.limit_calls, window_seconds=lookup.limit_window_seconds)


def _queued(lane: LaneStatus, system: SystemStatus, now: datetime) -> QueuedUpload:
    counts = Counts(waiting=lane.pending)
    why: Why | None = why_of(lane.upload_id, "in_progress", counts, system, fed=True, now=now)
    return QueuedUpload(id=lane.upload_id, pending=lane.pending, position=lane.position, why=why)

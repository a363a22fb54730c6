"""Composes the gate's status: lanes with position, share and reason, the next calls, pace, counts. Pure."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice

from schemas.codec import encode
from schemas.lookups import GateState, LaneStatus, LookupStatus, NextCall, PaidCalls
from schemas.phones import mask
from services.lookup.gate.lanes import Entry, EntryState, Lane
from services.lookup.gate.limiter import MINUTE_NS, Limiter
from services.lookup.gate.queue import LookupQueue
from services.lookup.gate.scheduler import CallScheduler

NEXT_CALLS = 10
MOST_LANES = 1_000
MOST_LANES_BYTES = 350_000
"""A thousand lanes whose owners have names of 1.2 kB would not fit into a record."""
MOST_HELD = 10_000
"""390 kB."""
MOST_CAPPED = 2_000
"""150 kB. With the lanes and the held uploads, at most nine tenths of the 1 MB of a record."""
_MOST_TURNS = 5_000
"""How many turns ahead are simulated to find the positions of lanes."""
_LONGEST_ERROR = 1_000


def compose_status(
    scheduler: CallScheduler, limiter: Limiter, *, instance: str, now: datetime, now_ns: int, error: str | None
) -> LookupStatus:
    """The status at `now` on the scheduler's clock, which is `now_ns` on the clock of `limiter`."""
    fold, queue = scheduler.fold, scheduler.fold.queue
    state = _state(scheduler, limiter, now_ns)
    held = [lane.upload_id for lane in islice(queue.lanes, MOST_HELD + 1)]
    capped = _capped(scheduler)
    shown_error = error or scheduler.health.error
    return LookupStatus(
        instance=instance,
        state=state,
        at=scheduler.clock.to_wall(now),
        until=_until(scheduler, limiter, state, now, now_ns),
        limit_calls=limiter.rate,
        limit_window_seconds=limiter.window_ns / 1e9,
        pace_per_second=limiter.calls_per_second,
        used_last_window=limiter.writes_since(now_ns - limiter.window_ns),
        calls_last_minute=limiter.writes_since(now_ns - MINUTE_NS),
        pending=queue.total(EntryState.WAITING) + queue.total(EntryState.BACKOFF),
        in_flight=queue.total(EntryState.CALLED),
        in_backoff=queue.total(EntryState.BACKOFF),
        retries=scheduler.counters.retries,
        dead_letters=scheduler.counters.dead_letters,
        oldest_wanted_at=min((at for lane in queue.lanes if (at := lane.oldest_wanted_at)), default=None),
        folded_offset=fold.folded_offset,
        lanes=tuple(_lanes(scheduler, state)),
        lanes_total=queue.lane_count,
        held=tuple(held[:MOST_HELD]),
        held_complete=len(held) <= MOST_HELD,
        capped=tuple(capped[:MOST_CAPPED]),
        capped_complete=len(capped) <= MOST_CAPPED,
        next=tuple(_next_calls(queue)) if state in ("running", "throttled") else (),
        error=None if shown_error is None else shown_error[:_LONGEST_ERROR],
    )


def shorter_status(status: LookupStatus) -> LookupStatus | None:
    """The same status with shorter lists, for a cluster with a lower limit. None: it cannot be shorter."""
    lists = (status.lanes, status.held, status.capped)
    if not any(lists):
        return None
    lanes, held, capped = (each[: len(each) // 2] for each in lists)
    return status.model_copy(
        update={
            "lanes": lanes,
            "held": held,
            "held_complete": False,
            "capped": capped,
            "capped_complete": status.capped_complete and not status.capped,
        }
    )


def _state(scheduler: CallScheduler, limiter: Limiter, now_ns: int) -> GateState:
    if scheduler.fold.paused:
        return "paused"
    if scheduler.health.state != "up":
        return scheduler.health.state
    return "throttled" if limiter.is_narrowed(now_ns) else "running"


def _until(scheduler: CallScheduler, limiter: Limiter, state: GateState, now: datetime, now_ns: int) -> datetime | None:
    if state in ("account_problem", "provider_down"):
        probe_at = scheduler.health.probe_at
        return None if probe_at is None else scheduler.clock.to_wall(probe_at)
    closed_until = limiter.closed_until(now_ns)
    if state != "throttled" or closed_until is None:
        return None
    return scheduler.clock.to_wall(datetime.fromtimestamp(now.timestamp() + (closed_until - now_ns) / 1e9, UTC))


def _capped(scheduler: CallScheduler) -> list[PaidCalls]:
    """The paid calls of the uploads with a limit, the latest payers first; at most one more than is shown."""
    paid: list[PaidCalls] = []
    for upload_id, calls in reversed(scheduler.counters.calls_by_upload.items()):
        if calls and scheduler.fold.max_calls(upload_id) is not None:
            paid.append(PaidCalls(upload_id=upload_id, calls=calls))
        if len(paid) > MOST_CAPPED:
            break
    return paid


def _lanes(scheduler: CallScheduler, state: GateState) -> Iterator[LaneStatus]:
    """The first lanes in the order of their turns, as many as fit."""
    shares = scheduler.fold.queue.turns.shares()
    left_bytes = MOST_LANES_BYTES
    for position, lane in enumerate(islice(_by_turn(scheduler.fold.queue), MOST_LANES), start=1):
        status = LaneStatus(
            upload_id=lane.upload_id,
            owner=lane.owner,
            pending=lane.count[EntryState.WAITING] + lane.count[EntryState.BACKOFF],
            in_backoff=lane.count[EntryState.BACKOFF],
            in_flight=lane.count[EntryState.CALLED],
            position=position,
            share=shares.get(lane.upload_id, 0.0),
            calls=scheduler.counters.calls_by_upload.get(lane.upload_id, 0),
            retries=scheduler.counters.retries_by_upload.get(lane.upload_id, 0),
            why=_why(lane, state),
            backoff_until=_backoff_until(scheduler, lane),
            oldest_wanted_at=lane.oldest_wanted_at,
        )
        left_bytes -= len(encode(status)) + 1
        if left_bytes < 0:
            return
        yield status


def _backoff_until(scheduler: CallScheduler, lane: Lane) -> datetime | None:
    if not lane.count[EntryState.BACKOFF]:
        return None
    return scheduler.clock.to_wall(datetime.fromtimestamp(lane.last_due_at, UTC))


def _by_turn(queue: LookupQueue) -> list[Lane]:
    """The lanes in the order of their next turns, then the lanes that cannot be served now."""
    callable_lanes = sum(lane.is_callable for lane in queue.lanes)
    order: dict[Lane, None] = {}
    for lane in islice(queue.turns.ahead(), _MOST_TURNS):
        order.setdefault(lane)
        if len(order) == callable_lanes:
            break
    for lane in queue.lanes:
        order.setdefault(lane)
    return list(order)


def _why(lane: Lane, state: GateState) -> str:
    """The `WhyCode` that explains best why the phones of the lane wait."""
    if state == "paused" or lane.paused:
        return "paused"
    if state in ("account_problem", "provider_down"):
        return state
    if (
        lane.count[EntryState.WAITING] == 0
        and lane.count[EntryState.BACKOFF] > 0
        and lane.count[EntryState.CALLED] == 0
    ):
        return "backoff"
    return "provider_throttled" if state == "throttled" else "waiting_turn"


def _next_calls(queue: LookupQueue) -> Iterator[NextCall]:
    """The next calls if no event came, each phone once."""
    lines: dict[Lane, Iterator[Entry]] = {}
    taken: set[str] = set()
    for lane in islice(queue.turns.ahead(), 10 * NEXT_CALLS):
        if lane not in lines:
            lines[lane] = lane.waiting()
        entry = next((entry for entry in lines[lane] if entry.phone not in taken), None)
        if entry is not None:
            taken.add(entry.phone)
            yield NextCall(upload_id=lane.upload_id, phone_masked=mask(entry.phone))
        if len(taken) == NEXT_CALLS:
            return

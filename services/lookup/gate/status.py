"""Composes what the gate tells of itself: lanes with position, share and reason, what is next, pace, counts. Pure."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice

from schemas.codec import encode
from schemas.lookups import GateState, LaneStatus, LookupStatus, NextCall, PaidCalls
from schemas.phones import mask
from services.lookup.gate.decisions import GateCore
from services.lookup.gate.lanes import Entry, Lane, Stage
from services.lookup.gate.limiter import MINUTE_NS, Limiter
from services.lookup.gate.queue import Queue

NEXT_CALLS = 10
MOST_LANES = 1_000
MOST_LANES_BYTES = 350_000
"""An owner's name takes up to 1.2 kB, in which a thousand lanes would be more than a record holds."""
MOST_HELD = 10_000
"""390 kB."""
MOST_CAPPED = 2_000
"""150 kB: with lanes and those held, nine tenths of the 1 MB of a record at the very most."""
_MOST_TURNS = 5_000
"""How far ahead turns are played through to find positions."""
_LONGEST_ERROR = 1_000


def compose_status(
    core: GateCore, limiter: Limiter, *, instance: str, now: datetime, now_ns: int, error: str | None
) -> LookupStatus:
    """The gate's state as of now, by the core's clock. `limiter` says the pace on its own clock, `now_ns`."""
    fold, queue = core.fold, core.fold.queue
    state = _state(core, limiter, now_ns)
    held = [lane.upload_id for lane in islice(queue.lanes, MOST_HELD + 1)]
    capped = _capped(core)
    shown_error = error or core.health.error
    return LookupStatus(
        instance=instance,
        state=state,
        at=core.clock.to_wall(now),
        until=_until(core, limiter, state, now, now_ns),
        limit_calls=limiter.rate,
        limit_window_seconds=limiter.window_ns / 1e9,
        pace_per_second=limiter.calls_per_second,
        used_last_window=limiter.writes_since(now_ns - limiter.window_ns),
        calls_last_minute=limiter.writes_since(now_ns - MINUTE_NS),
        pending=queue.total(Stage.WAITING) + queue.total(Stage.BACKOFF),
        in_flight=queue.total(Stage.CALLED),
        in_backoff=queue.total(Stage.BACKOFF),
        retries=core.tally.retries,
        dead_letters=core.tally.dead_letters,
        oldest_wanted_at=min((at for lane in queue.lanes if (at := lane.oldest_wanted_at)), default=None),
        folded_offset=fold.folded_offset,
        lanes=tuple(_lanes(core, state)),
        lanes_total=queue.lane_count,
        held=tuple(held[:MOST_HELD]),
        held_complete=len(held) <= MOST_HELD,
        capped=tuple(capped[:MOST_CAPPED]),
        capped_complete=len(capped) <= MOST_CAPPED,
        next=tuple(_next_calls(queue)) if state in ("running", "throttled") else (),
        error=None if shown_error is None else shown_error[:_LONGEST_ERROR],
    )


def shorter_status(status: LookupStatus) -> LookupStatus | None:
    """The same with less in its lists, for a cluster that takes less than ours; None: there is nothing to leave out."""
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


def _state(core: GateCore, limiter: Limiter, now_ns: int) -> GateState:
    if core.fold.paused:
        return "paused"
    if core.health.standing != "up":
        return core.health.standing
    return "throttled" if limiter.is_narrowed(now_ns) else "running"


def _until(core: GateCore, limiter: Limiter, state: GateState, now: datetime, now_ns: int) -> datetime | None:
    if state in ("account_problem", "provider_down"):
        probe_at = core.health.probe_at
        return None if probe_at is None else core.clock.to_wall(probe_at)
    closed_until = limiter.closed_until(now_ns)
    if state != "throttled" or closed_until is None:
        return None
    return core.clock.to_wall(datetime.fromtimestamp(now.timestamp() + (closed_until - now_ns) / 1e9, UTC))


def _capped(core: GateCore) -> list[PaidCalls]:
    """What uploads whose calls are capped have paid, those first that paid last; a few more than are told."""
    paid: list[PaidCalls] = []
    for upload_id, calls in reversed(core.tally.calls_by_upload.items()):
        if calls and core.fold.max_calls(upload_id) is not None:
            paid.append(PaidCalls(upload_id=upload_id, calls=calls))
        if len(paid) > MOST_CAPPED:
            break
    return paid


def _lanes(core: GateCore, state: GateState) -> Iterator[LaneStatus]:
    """The first lanes by their turns, as many as fit."""
    shares = core.fold.queue.turns.shares()
    left_bytes = MOST_LANES_BYTES
    for position, lane in enumerate(islice(_by_turn(core.fold.queue), MOST_LANES), start=1):
        status = LaneStatus(
            upload_id=lane.upload_id,
            owner=lane.owner,
            pending=lane.count[Stage.WAITING] + lane.count[Stage.BACKOFF],
            in_backoff=lane.count[Stage.BACKOFF],
            in_flight=lane.count[Stage.CALLED],
            position=position,
            share=shares.get(lane.upload_id, 0.0),
            calls=core.tally.calls_by_upload.get(lane.upload_id, 0),
            retries=core.tally.retries_by_upload.get(lane.upload_id, 0),
            why=_why(lane, state),
            backoff_until=_backoff_until(core, lane),
            oldest_wanted_at=lane.oldest_wanted_at,
        )
        left_bytes -= len(encode(status)) + 1
        if left_bytes < 0:
            return
        yield status


def _backoff_until(core: GateCore, lane: Lane) -> datetime | None:
    if not lane.count[Stage.BACKOFF]:
        return None
    return core.clock.to_wall(datetime.fromtimestamp(lane.last_due_at, UTC))


def _by_turn(queue: Queue) -> list[Lane]:
    """Lanes by when they are served next; then those that cannot be served now."""
    wanted = sum(lane.is_callable for lane in queue.lanes)
    order: dict[Lane, None] = {}
    for lane in islice(queue.turns.ahead(), _MOST_TURNS):
        order.setdefault(lane)
        if len(order) == wanted:
            break
    for lane in queue.lanes:
        order.setdefault(lane)
    return list(order)


def _why(lane: Lane, state: GateState) -> str:
    """The `WhyCode` that explains best why the lane's phones wait."""
    if state == "paused" or lane.paused:
        return "paused"
    if state in ("account_problem", "provider_down"):
        return state
    if lane.count[Stage.WAITING] == 0 and lane.count[Stage.BACKOFF] > 0 and lane.count[Stage.CALLED] == 0:
        return "backoff"
    return "provider_throttled" if state == "throttled" else "waiting_turn"


def _next_calls(queue: Queue) -> Iterator[NextCall]:
    """The next calls if nothing more came in, each phone once."""
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

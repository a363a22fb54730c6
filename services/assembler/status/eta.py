"""Estimates when an upload will be finished, by playing the present lookup queue forward; the answer is a range."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter

from schemas.interface import Eta
from schemas.lookups import LaneStatus, LookupStatus
from schemas.uploads import Counts

LAST_STEP_SECONDS = 0.1
"""From the last call until its reply is joined: measured, 0.05 to 0.15 s. People see it half a second later."""
SPREAD = 0.08
"""Half width of the range: replies, retries and other uploads vary by about this share of the time left."""
SLOWEST_PER_SECOND = 1e-4
LEAST_SHARE = 1e-6
"""No gate has a lower pace or share than these; lower figures would give times that no calendar holds."""
FARTHEST_SECONDS = 366 * 86_400.0
"""An estimate beyond a year is not given."""
_MOVING = frozenset({"running", "throttled"})


@dataclass(frozen=True, slots=True)
class LaneBacklog:
    """Calls that an upload still needs, and its weight among the lanes being served."""

    upload_id: str
    owner: str
    calls: float
    weight: float


@dataclass(frozen=True, slots=True)
class Feeding:
    """The part of an upload that is not in the queue yet: rows still to be published, and the calls of its plan."""

    unfed_rows: int
    usable_rows: int
    planned_calls: int | None


def finish_seconds(lanes: Iterable[LaneBacklog], pace_per_second: float) -> dict[str, float]:
    """Seconds until each lane is empty, if the pace is shared first by owner, then by lane, and none of it is lost.

    When a lane ends, its owner keeps the share for its other lanes; when the owner's last lane ends, all others share
    it. This is the virtual time of fair queueing: the service that one unit of weight has received. It grows faster
    the fewer owners are left.
    """
    by_owner: dict[str, list[LaneBacklog]] = {}
    for lane in lanes:
        if lane.weight > 0:
            by_owner.setdefault(lane.owner, []).append(lane)
    weights = {owner: sum(lane.weight for lane in its) for owner, its in by_owner.items()}
    ends = [end for owner, its in by_owner.items() for end in _virtual_ends(its, weights[owner])]
    present = sum(weights.values())
    done: dict[str, float] = {}
    now = virtual_now = 0.0
    for virtual_end, lane, is_last in sorted(ends, key=itemgetter(0)):
        now += (virtual_end - virtual_now) * present / pace_per_second
        virtual_now = virtual_end
        done[lane.upload_id] = now
        if is_last:
            present = max(0.0, present - weights[lane.owner])
    return done


def _virtual_ends(lanes: list[LaneBacklog], weight: float) -> Iterator[tuple[float, LaneBacklog, bool]]:
    """When each lane of one owner ends in virtual time, and whether it is the last to end."""
    ended_calls, weight_left = 0.0, weight
    in_order = sorted(lanes, key=lambda lane: lane.calls / lane.weight)
    for lane in in_order:
        served = ended_calls + max(weight_left, lane.weight) * (lane.calls / lane.weight)
        yield served / weight, lane, lane is in_order[-1]
        ended_calls += lane.calls
        weight_left -= lane.weight


def feeding_of(counts: Counts, *, usable: int | None, planned_calls: int | None) -> Feeding:
    """The part of an upload that is not in the queue yet, by its counts and its plan."""
    return Feeding(unfed_rows=counts.unprocessed, usable_rows=usable or 0, planned_calls=planned_calls)


def calls_left(lane: LaneStatus | None, feeding: Feeding) -> float:
    """Calls that an upload still needs: those in the queue, and its unfed rows' share of the planned calls."""
    queued = 0.0 if lane is None else float(lane.pending + lane.in_flight)
    unfed = 0.0
    if feeding.planned_calls and feeding.usable_rows:
        unfed = feeding.planned_calls * min(1.0, feeding.unfed_rows / feeding.usable_rows)
    return (queued + unfed) * _calls_per_phone(lane)


def _calls_per_phone(lane: LaneStatus | None) -> float:
    """Calls per phone so far, as retries take slots too. Fewer than 20 calls are too few to say."""
    if lane is None or lane.calls < 20:
        return 1.0
    return min(2.0, lane.calls / max(1, lane.calls - lane.retries))


def eta_of(upload_id: str, status: LookupStatus | None, feedings: dict[str, Feeding], *, now: datetime) -> Eta | None:
    """When the upload will be finished, as a range around the most likely time; None while that is unknown.

    It is unknown while the upload or all calls are paused: only a person ends a pause. `feedings` has an entry for
    every upload in progress whose rows are not all in the queue, this one included.
    """
    if status is None or status.state not in _MOVING or _pace(status) < SLOWEST_PER_SECOND:
        return None
    mine = next((lane for lane in status.lanes if lane.upload_id == upload_id), None)
    if mine is not None and _is_paused(mine):
        return None
    left = calls_left(mine, feedings.get(upload_id, Feeding(0, 0, None)))
    if left <= 0:
        return _range(now, 0.0)
    pace = _pace(status)
    # The last call is written at the beginning of its slot, not at the end.
    seconds = finish_seconds(_queue(upload_id, status, feedings), pace)[upload_id] - 1 / pace
    reported_at = max(now, status.at)
    seconds -= (reported_at - status.at).total_seconds()
    seconds = max(0.0, seconds, _backoff_seconds(mine, reported_at))
    return _range(reported_at, seconds) if seconds <= FARTHEST_SECONDS else None


def _is_paused(lane: LaneStatus) -> bool:
    return lane.why == "paused"


def _backoff_seconds(lane: LaneStatus | None, now: datetime) -> float:
    """Seconds until the last phone in backoff may be called, however fast the others are."""
    if lane is None or lane.backoff_until is None:
        return 0.0
    return (lane.backoff_until - now).total_seconds()


def _pace(status: LookupStatus) -> float:
    """Calls a second from now on.

    A throttled pace recovers within seconds, unless the provider throttles again and again: then the calls of the last
    minute give the pace.
    """
    if status.state != "throttled":
        return status.pace_per_second
    return max(status.pace_per_second, status.calls_last_minute / 60)


def _queue(upload_id: str, status: LookupStatus, feedings: dict[str, Feeding]) -> list[LaneBacklog]:
    """The lanes as the gate reported them. An upload that the gate does not know yet is added, as one more owner."""
    nothing = Feeding(0, 0, None)
    paid_once = _paid_once(status)
    owners = max(1, len({lane.owner for lane in status.lanes if lane.share > 0}))
    lanes = [
        LaneBacklog(
            lane.upload_id,
            lane.owner,
            paid_once * calls_left(lane, feedings.get(lane.upload_id, nothing)),
            _weight(lane, owners),
        )
        for lane in status.lanes
    ]
    if upload_id not in {lane.upload_id for lane in lanes}:
        lanes.append(LaneBacklog(upload_id, f"upload {upload_id}", calls_left(None, feedings[upload_id]), 1 / owners))
    return [lane for lane in lanes if lane.calls > 0]


def _weight(lane: LaneStatus, owners: int) -> float:
    """The lane's share. A lane without a share now (all its phones are in flight or in backoff) will get one again."""
    return 0.0 if _is_paused(lane) else max(lane.share, LEAST_SHARE) if lane.share else 1 / owners


def _paid_once(status: LookupStatus) -> float:
    """The share of distinct phones among the phones of all lanes: a phone in several lanes costs one call."""
    standing = sum(lane.pending + lane.in_flight for lane in status.lanes)
    different = status.pending + status.in_flight
    return min(1.0, different / standing) if standing and different else 1.0


def _range(now: datetime, seconds: float) -> Eta:
    spread = seconds * SPREAD
    earliest = now + timedelta(seconds=max(0.0, seconds - spread))
    latest = now + timedelta(seconds=seconds + spread + 2 * LAST_STEP_SECONDS)
    return Eta.model_validate({"from": earliest, "to": latest})

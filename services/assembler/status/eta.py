"""Decides when an upload will be finished: the lookup queue played forward as it is now, with an honest range."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter

from schemas.interface import Eta
from schemas.lookups import LaneStatus, LookupStatus
from schemas.uploads import Counts

LAST_STEP_SECONDS = 0.1
"""From the last call until its reply is joined: measured, 0.05 to 0.15 s. Half a second more until people see it."""
SPREAD = 0.08
"""Half width of the range: replies, retries and other uploads vary by about this share of the time left."""
SLOWEST_PER_SECOND = 1e-4
LEAST_SHARE = 1e-6
"""Figures below these are no pace and no share that a gate can have, and would make times that no calendar holds."""
FARTHEST_SECONDS = 366 * 86_400.0
"""Nobody can say what is in a year."""
_MOVING = frozenset({"running", "throttled"})


@dataclass(frozen=True, slots=True)
class Lane:
    """Calls an upload still needs, and its weight among the lanes being served."""

    upload_id: str
    owner: str
    calls: float
    weight: float


@dataclass(frozen=True, slots=True)
class Feeding:
    """How much of an upload is not yet in the queue: rows nobody has published, and the calls its plan foresaw."""

    unfed_rows: int
    usable_rows: int
    planned_calls: int | None


def finish_seconds(lanes: Iterable[Lane], pace_per_second: float) -> dict[str, float]:
    """Seconds until each lane is empty, if the pace is shared first by owner, then by lane, and none of it is lost.

    An owner keeps its part for its other lanes when one of them ends; the last one gives it back to all. This is fair
    queueing's virtual time: what one unit of weight has been served, which grows faster the fewer owners are left.
    """
    by_owner: dict[str, list[Lane]] = {}
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


def _virtual_ends(lanes: list[Lane], weight: float) -> Iterator[tuple[float, Lane, bool]]:
    """When each lane of one owner ends in virtual time, and whether it is the last to end."""
    ended_calls, weight_left = 0.0, weight
    in_order = sorted(lanes, key=lambda lane: lane.calls / lane.weight)
    for lane in in_order:
        served = ended_calls + max(weight_left, lane.weight) * (lane.calls / lane.weight)
        yield served / weight, lane, lane is in_order[-1]
        ended_calls += lane.calls
        weight_left -= lane.weight


def feeding_of(counts: Counts, *, usable: int | None, planned_calls: int | None) -> Feeding:
    """What the counts and the plan say of rows that are not in the queue yet."""
    return Feeding(unfed_rows=counts.unprocessed, usable_rows=usable or 0, planned_calls=planned_calls)


def calls_left(lane: LaneStatus | None, feeding: Feeding) -> float:
    """Calls an upload still needs: those in the queue, and the share of its plan that its unfed rows stand for."""
    queued = 0.0 if lane is None else float(lane.pending + lane.in_flight)
    unfed = 0.0
    if feeding.planned_calls and feeding.usable_rows:
        unfed = feeding.planned_calls * min(1.0, feeding.unfed_rows / feeding.usable_rows)
    return (queued + unfed) * _calls_per_phone(lane)


def _calls_per_phone(lane: LaneStatus | None) -> float:
    """Retries take slots too: what the calls made so far needed per phone, believed only after some of them."""
    if lane is None or lane.calls < 20:
        return 1.0
    return min(2.0, lane.calls / max(1, lane.calls - lane.retries))


def eta_of(upload_id: str, status: LookupStatus | None, feedings: dict[str, Feeding], *, now: datetime) -> Eta | None:
    """When the upload will be finished, as a range around the most likely time; None while nobody can say.

    Nobody can while it is paused, or all calls are: that ends when a person says so. `feedings` has an entry for every
    upload in progress whose rows are not all in the queue, this one included.
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
    told_at = max(now, status.at)
    seconds -= (told_at - status.at).total_seconds()
    seconds = max(0.0, seconds, _backoff_seconds(mine, told_at))
    return _range(told_at, seconds) if seconds <= FARTHEST_SECONDS else None


def _is_paused(lane: LaneStatus) -> bool:
    return lane.why == "paused"


def _backoff_seconds(lane: LaneStatus | None, now: datetime) -> float:
    """The last phone in backoff is not called before its time, however fast the others are."""
    if lane is None or lane.backoff_until is None:
        return 0.0
    return (lane.backoff_until - now).total_seconds()


def _pace(status: LookupStatus) -> float:
    """Calls a second from now on. A narrowed pace recovers within seconds, unless the provider narrows it again and
    again: then the last minute says what it comes to."""
    if status.state != "throttled":
        return status.pace_per_second
    return max(status.pace_per_second, status.calls_last_minute / 60)


def _queue(upload_id: str, status: LookupStatus, feedings: dict[str, Feeding]) -> list[Lane]:
    """The lanes as the gate reported them; an upload whose rows have not arrived there yet joins as one owner more."""
    nothing = Feeding(0, 0, None)
    paid_once = _paid_once(status)
    owners = max(1, len({lane.owner for lane in status.lanes if lane.share > 0}))
    lanes = [
        Lane(
            lane.upload_id,
            lane.owner,
            paid_once * calls_left(lane, feedings.get(lane.upload_id, nothing)),
            _weight(lane, owners),
        )
        for lane in status.lanes
    ]
    if upload_id not in {lane.upload_id for lane in lanes}:
        lanes.append(Lane(upload_id, f"upload {upload_id}", calls_left(None, feedings[upload_id]), 1 / owners))
    return [lane for lane in lanes if lane.calls > 0]


def _weight(lane: LaneStatus, owners: int) -> float:
    """Its share. One that has nothing to call at this moment, all being called or in backoff, comes back to one."""
    return 0.0 if _is_paused(lane) else max(lane.share, LEAST_SHARE) if lane.share else 1 / owners


def _paid_once(status: LookupStatus) -> float:
    """Phones that stand in several lanes cost one call: the part of the lanes' phones that are different ones."""
    standing = sum(lane.pending + lane.in_flight for lane in status.lanes)
    different = status.pending + status.in_flight
    return min(1.0, different / standing) if standing and different else 1.0


def _range(now: datetime, seconds: float) -> Eta:
    spread = seconds * SPREAD
    earliest = now + timedelta(seconds=max(0.0, seconds - spread))
    latest = now + timedelta(seconds=seconds + spread + 2 * LAST_STEP_SECONDS)
    return Eta.model_validate({"from": earliest, "to": latest})

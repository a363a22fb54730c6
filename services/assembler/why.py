"""Decides why an upload does not move on, as one code that people and programs can act on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from schemas.interface import Why
from schemas.lookups import GateState, LaneStatus, LookupStatus
from schemas.parts import PartStatus
from schemas.uploads import Counts, UploadState, WhyCode

SILENT_AFTER: Final = timedelta(seconds=20)
"""A part that has said nothing for four of its intervals is taken for dead."""

_WHY_BY_GATE_STATE: Final[Mapping[GateState, WhyCode]] = {
    "paused": "paused",
    "account_problem": "account_problem",
    "provider_down": "provider_down",
    "throttled": "provider_throttled",
    "no_gate": "part_down",
}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What else runs: the gate's last status and the parts that told that they live."""

    lookup: LookupStatus | None = None
    parts: tuple[PartStatus, ...] = ()
    lanes: Mapping[str, LaneStatus] = field(default_factory=dict)

    @classmethod
    def of(cls, lookup: LookupStatus | None, parts: Iterable[PartStatus]) -> "Surroundings":
        lanes = {} if lookup is None else {lane.upload_id: lane for lane in lookup.lanes}
        return cls(lookup, tuple(parts), lanes)


def is_alive(part: PartStatus, now: datetime) -> bool:
    return part.state not in ("stuck", "stopping") and now - part.seen_at <= SILENT_AFTER


def missing_roles(parts: Iterable[PartStatus], now: datetime) -> list[str]:
    """Roles of the data path without a living process, in the order that rows pass them."""
    alive = {part.role for part in parts if is_alive(part, now)}
    return [role for role in ("feeder", "worker", "gate", "join") if role not in alive]


def why_of(upload_id: str, state: UploadState, counts: Counts, around: Surroundings, *, now: datetime) -> Why | None:
    """Why the upload does not move on; None while it does, and when it is finished or waits for a person's start.

    A general cause (paused, a dead part, the provider) is named before a particular one of this upload.
    """
    if state == "paused":
        return Why(code="paused")
    if state in ("pending", "checking"):
        return Why(code="part_down" if "feeder" in missing_roles(around.parts, now) else "being_read")
    if state != "in_progress":
        return None
    general = _general_cause(around, now)
    return general or _particular_cause(around.lanes.get(upload_id), counts, around)


def _general_cause(around: Surroundings, now: datetime) -> Why | None:
    if missing_roles(around.parts, now):
        return Why(code="part_down")
    if around.lookup is None:
        return Why(code="part_down")
    code = _WHY_BY_GATE_STATE.get(around.lookup.state)
    return None if code is None else Why(code=code, until=around.lookup.until)


def _particular_cause(lane: LaneStatus | None, counts: Counts, around: Surroundings) -> Why | None:
    if lane is None:
        return Why(code="being_read") if counts.unprocessed and not counts.waiting else None
    if lane.pending and lane.in_backoff >= lane.pending and not lane.in_flight:
        return Why(code="backoff")
    if lane.why in ("backoff", "paused", "shared_with_other_upload"):
        return Why.model_validate({"code": lane.why})
    return Why(code="waiting_turn") if lane.pending and len(around.lanes) > 1 else None

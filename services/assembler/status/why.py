"""Decides why an upload does not move on, as one code that people and programs can act on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from schemas.interface import Why
from schemas.lookups import GateState, LaneStatus, LookupStatus
from schemas.parts import PartStatus
from schemas.uploads import Counts, UploadState, WhyCode
from services.assembler.status.liveness import waits_for_part

_WHY_BY_GATE_STATE: Final[Mapping[GateState, WhyCode]] = {
    "paused": "paused",
    "account_problem": "account_problem",
    "provider_down": "provider_down",
    "throttled": "provider_throttled",
    "no_gate": "part_down",
}
_WHY_BY_LANE: Final[Mapping[str, WhyCode]] = {
    "backoff": "backoff",
    "paused": "paused",
    "shared_with_other_upload": "shared_with_other_upload",
}
"""The lane's own reasons that explain more than its place in the queue."""


@dataclass(frozen=True, slots=True)
class SystemStatus:
    """What the gate and the other processes last reported."""

    lookup: LookupStatus | None = None
    parts: tuple[PartStatus, ...] = ()
    lanes: Mapping[str, LaneStatus] = field(default_factory=dict)

    @classmethod
    def of(cls, lookup: LookupStatus | None, parts: Iterable[PartStatus]) -> "SystemStatus":
        lanes = {} if lookup is None else {lane.upload_id: lane for lane in lookup.lanes}
        return cls(lookup, tuple(parts), lanes)


def why_of(
    upload_id: str, state: UploadState, counts: Counts, system: SystemStatus, *, fed: bool, now: datetime
) -> Why | None:
    """Why the upload does not move on; None while it does, and when it is finished or waits for a person's start.

    `fed`: all of its rows have been published. A general cause (paused, a part that is down, the provider) is named
    before a particular one of this upload.
    """
    if state == "paused":
        return Why(code="paused")
    if waits_for_part(state, system.parts, fed=fed, now=now):
        return Why(code="part_down")
    if state in ("pending", "checking"):
        return Why(code="being_read")
    if state != "in_progress":
        return None
    return _general_cause(system) or _particular_cause(system.lanes.get(upload_id), counts, system, fed=fed)


def _general_cause(system: SystemStatus) -> Why | None:
    if system.lookup is None:
        return Why(code="part_down")
    code = _WHY_BY_GATE_STATE.get(system.lookup.state)
    return None if code is None else Why(code=code, until=system.lookup.until)


def _particular_cause(lane: LaneStatus | None, counts: Counts, system: SystemStatus, *, fed: bool) -> Why | None:
    if not counts.waiting and (counts.unprocessed or not fed):
        return Why(code="being_read")
    if lane is None:
        return None
    if lane.pending and lane.in_backoff >= lane.pending and not lane.in_flight:
        return Why(code="backoff")
    code = _WHY_BY_LANE.get(lane.why)
    if code is not None:
        return Why(code=code)
    return Why(code="waiting_turn") if lane.pending and len(system.lanes) > 1 else None

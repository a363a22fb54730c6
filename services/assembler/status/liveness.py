"""Decides the condition of each part (alive, silent, restarting …) and whether an upload waits for a part; pure."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from schemas.interface import PartCondition, PartView
from schemas.parts import PartStatus, Role, keeps_restarting, restarts_lately
from schemas.roles import ROLES
from schemas.uploads import UploadState

SILENT_AFTER: Final = timedelta(seconds=15)
"""Three intervals of a part's reports; a part that is silent for longer counts as dead."""
_WORKING: Final[frozenset[PartCondition]] = frozenset({"starting", "running", "standby"})


def condition_of(part: PartStatus, now: datetime) -> PartCondition:
    """The state that the part last reported, unless its restarts or its silence show another."""
    if part.state == "stopping":
        return "stopping"
    if keeps_restarting(part, now):
        return "restarting"
    if part.state != "stuck" and now - part.seen_at > SILENT_AFTER:
        return "silent"
    return part.state


def part_view(part: PartStatus, now: datetime) -> PartView:
    """The part as operators see it. `error`: its last error; for a restarting part without one, how it last ended."""
    condition = condition_of(part, now)
    error = part.error or (part.last_end if condition == "restarting" else None)
    return PartView(
        role=part.role,
        instance=part.instance,
        pid=part.pid,
        state=condition,
        active=part.active and condition in _WORKING,
        started_at=part.started_at,
        seen_at=part.seen_at,
        error=error,
        restarts_lately=restarts_lately(part, now),
        last_end=part.last_end,
    )


def is_alive(part: PartStatus, now: datetime) -> bool:
    """Whether the part can be expected to work."""
    return condition_of(part, now) in _WORKING


def missing_roles(parts: Iterable[PartStatus], now: datetime) -> list[Role]:
    """Roles of the data path without a living process, in the order that rows pass them."""
    alive = {part.role for part in parts if is_alive(part, now)}
    return [role.name for role in ROLES if role.is_on_data_path and role.name not in alive]


def waits_for_part(state: UploadState, parts: Iterable[PartStatus], *, fed: bool, now: datetime) -> bool:
    """Whether the upload needs a part now that is missing. `fed`: all of its rows have been published."""
    missing = missing_roles(parts, now)
    if state in ("pending", "checking"):
        return any(role in ("feeder", "join") for role in missing)
    return state == "in_progress" and any(role != "feeder" or not fed for role in missing)

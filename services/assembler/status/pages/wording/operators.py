"""Decides what the operators' page says about processes, bad records and the audit log; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from schemas.interface import PartCondition, PartView
from schemas.rows import BadReason

ACTIONS: Final[Mapping[str, str]] = {
    "upload_opened": "uploaded",
    "start_upload": "started",
    "set_options": "changed the options of",
    "pause_upload": "paused",
    "resume_upload": "resumed",
    "cancel_upload": "stopped",
    "retry_failed": "retried failed rows of",
    "dismiss_failed": "dismissed dead letters of",
    "set_priority": "changed the priority of",
    "delete_upload": "deleted",
    "pause_calls": "paused all calls",
    "resume_calls": "resumed all calls",
    "sweep": "started a sweep",
    "forget_phone": "erased a number",
    "retry_bad_records": "retried bad records",
}
"""By the action of an audit entry; the upload's name, if there is one, follows in the next column."""
BAD_REASONS: Final[Mapping[BadReason, str]] = {
    "undecodable": "Cannot be read",
    "failed": "Processing failed",
    "too_large": "Too large to be written",
}


@dataclass(frozen=True, slots=True)
class ConditionWords:
    """What people read about a process in a condition, and its colour."""

    tone: str
    words: str


CONDITIONS: Final[Mapping[PartCondition, ConditionWords]] = {
    "starting": ConditionWords("busy", "starting"),
    "running": ConditionWords("good", "running"),
    "standby": ConditionWords("good", "on standby"),
    "stuck": ConditionWords("bad", "stuck"),
    "stopping": ConditionWords("ask", "stopped"),
    "silent": ConditionWords("bad", "silent"),
    "restarting": ConditionWords("bad", "restarting"),
}


def condition_words(condition: PartCondition) -> ConditionWords:
    """The words for a condition; the condition itself when a newer version wrote it."""
    return CONDITIONS.get(condition, ConditionWords("ask", condition))


def trouble_words(part: PartView) -> str | None:
    """The part's last error, and how often it restarted if it keeps doing so."""
    if part.state != "restarting":
        return part.error
    often = f"{part.restarts_lately} times in 5 minutes"
    return often if part.error is None else f"{often}: {part.error}"

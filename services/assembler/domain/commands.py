"""Decides what a command to an upload means in its present state: which events, or why not; pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from schemas.upload_events import (
    CancelUpload,
    DeleteUpload,
    Failures,
    PauseUpload,
    ResumeUpload,
    RetryFailed,
    SetOptions,
    SetPriority,
    StartUpload,
    UploadEvent,
)
from schemas.uploads import FINISHED, UploadOptions, UploadState
from schemas.values import MAX_INT32

MOST_ROUNDS: Final = 3
"""Rounds of `retry-failed` before it has to be forced: what failed so often will hardly succeed."""


@dataclass(frozen=True, slots=True)
class Target:
    """The upload that a command is about. `failed`: rows without an answer; `started`: a person or option said go.

    `cancelled`: a cancellation was asked for, if only when everything was done already: its calls are over.
    """

    upload_id: str
    state: UploadState
    round: int
    failed: int
    started: bool
    options: UploadOptions
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Accepted:
    """Events to write, none when the upload is already so; `expect`: the states it will soon be in."""

    events: tuple[UploadEvent, ...]
    expect: tuple[UploadState, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """Not in this state. `detail` says what can be done."""

    detail: str


Decision = Accepted | Refused


def start(target: Target, *, by: str, now: datetime, max_calls: int | None, sample_rows: int | None) -> Decision:
    if target.state == "checked":
        event = StartUpload(upload_id=target.upload_id, at=now, by=by, max_calls=max_calls, sample_rows=sample_rows)
        return Accepted((event,), ("in_progress", "paused", *FINISHED))
    if target.started and target.state != "failed":
        return Accepted((), (target.state,))
    if target.state in ("pending", "checking"):
        return Refused("The file is still being read. Start it when its state is `checked`.")
    return Refused(f"An upload that is `{target.state}` cannot be started. Use `reprocess` to run its file again.")


def set_options(target: Target, options: UploadOptions, *, by: str, now: datetime) -> Decision:
    if target.started:
        return Refused("The upload has been started. Use `reprocess` with other options to run its file again.")
    if target.state in FINISHED:
        return Refused(f"The upload is `{target.state}`. Use `reprocess` with other options to run its file again.")
    if options == target.options:
        return Accepted((), (target.state,))
    return Accepted(
        (SetOptions(upload_id=target.upload_id, at=now, by=by, options=options),),
        ("pending", "checking", "checked", "failed"),
    )


def pause(target: Target, *, by: str, now: datetime) -> Decision:
    if target.state == "paused":
        return Accepted((), ("paused",))
    if target.state == "in_progress":
        return Accepted((PauseUpload(upload_id=target.upload_id, at=now, by=by),), ("paused", *FINISHED))
    return Refused(f"Only an upload that is `in_progress` can be paused; this one is `{target.state}`.")


def resume(target: Target, *, by: str, now: datetime) -> Decision:
    if target.state == "in_progress":
        return Accepted((), ("in_progress",))
    if target.state == "paused":
        return Accepted((ResumeUpload(upload_id=target.upload_id, at=now, by=by),), ("in_progress", *FINISHED))
    return Refused(f"Only an upload that is `paused` can be resumed; this one is `{target.state}`.")


def cancel(target: Target, *, by: str, now: datetime) -> Decision:
    if target.state == "cancelled":
        return Accepted((), ("cancelled",))
    if target.state in FINISHED:
        return Refused(f"The upload is already `{target.state}`; there is nothing left to stop.")
    return Accepted((CancelUpload(upload_id=target.upload_id, at=now, by=by),), FINISHED)


def retry_failed(
    target: Target,
    *,
    by: str,
    now: datetime,
    force: bool,
    only: Failures | None = None,
    but_not: tuple[Failures, ...] = (),
) -> Decision:
    """`only` None: all failed rows; those in one of `but_not` are left as they are."""
    if target.state in ("in_progress", "paused") and target.round > 0:
        return Accepted((), (target.state,))
    if target.state != "completed":
        return Refused(f"Failed rows can be tried again when the upload is `completed`; it is `{target.state}`.")
    if target.cancelled:
        return Refused("A cancellation of this upload was asked for. Use `reprocess` to run its file again.")
    if not target.failed:
        return Refused("No row of this upload failed.")
    if target.round >= MAX_INT32:
        return Refused("Its failed rows were tried as often as rounds can be counted.")
    if target.round >= MOST_ROUNDS and not force:
        return Refused(
            f"Its failed rows were tried {target.round} more times already. Send `force: true` to try once more."
        )
    event = RetryFailed(upload_id=target.upload_id, at=now, by=by, round=target.round + 1, only=only, but_not=but_not)
    return Accepted((event,), ("in_progress", "paused"))


def set_priority(target: Target, priority: int, *, by: str, now: datetime) -> Decision:
    if target.state in FINISHED:
        return Refused(f"The upload is `{target.state}`; its priority no longer matters.")
    return Accepted((SetPriority(upload_id=target.upload_id, at=now, by=by, priority=priority),), (target.state,))


def delete(target: Target, *, by: str, now: datetime) -> Decision:
    """An unfinished upload is stopped first, so that no part goes on working for something that is gone."""
    gone = DeleteUpload(upload_id=target.upload_id, at=now, by=by)
    if target.state in FINISHED:
        return Accepted((gone,), ())
    return Accepted((CancelUpload(upload_id=target.upload_id, at=now, by=by), gone), ())

"""Decides the events that a command to an upload causes in its present state, or why it is refused; pure."""

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
"""Rounds of `retry-failed` before it must be forced: rows that failed so often will hardly succeed."""


@dataclass(frozen=True, slots=True)
class Target:
    """The upload that a command is about. `failed`: rows without an answer; `started`: by a person or by its options.

    `cancelled`: a cancellation was asked for, even if every row had its outcome by then. No more calls are made for it.
    """

    upload_id: str
    state: UploadState
    round: int
    failed: int
    started: bool
    options: UploadOptions
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class CommandAccepted:
    """The events to write; none if the upload is in the wanted state. `expect`: the states that it may soon be in."""

    events: tuple[UploadEvent, ...]
    expect: tuple[UploadState, ...]


@dataclass(frozen=True, slots=True)
class CommandRefused:
    """The command is not possible in this state. `detail` says what the caller can do."""

    detail: str


CommandDecision = CommandAccepted | CommandRefused


def start(target: Target, *, by: str, now: datetime, max_calls: int | None, sample_rows: int | None) -> CommandDecision:
    if target.state == "checked":
        event = StartUpload(upload_id=target.upload_id, at=now, by=by, max_calls=max_calls, sample_rows=sample_rows)
        return CommandAccepted((event,), ("in_progress", "paused", *FINISHED))
    if target.started and target.state != "failed":
        return CommandAccepted((), (target.state,))
    if target.state in ("pending", "checking"):
        return CommandRefused("The file is still being read. Start it when its state is `checked`.")
    return CommandRefused(
        f"An upload that is `{target.state}` cannot be started. Use `reprocess` to run its file again."
    )


def set_options(target: Target, options: UploadOptions, *, by: str, now: datetime) -> CommandDecision:
    if target.started:
        return CommandRefused("The upload has been started. Use `reprocess` with other options to run its file again.")
    if target.state in FINISHED:
        return CommandRefused(
            f"The upload is `{target.state}`. Use `reprocess` with other options to run its file again."
        )
    if options == target.options:
        return CommandAccepted((), (target.state,))
    return CommandAccepted(
        (SetOptions(upload_id=target.upload_id, at=now, by=by, options=options),),
        ("pending", "checking", "checked", "failed"),
    )


def pause(target: Target, *, by: str, now: datetime) -> CommandDecision:
    if target.state == "paused":
        return CommandAccepted((), ("paused",))
    if target.state == "in_progress":
        return CommandAccepted((PauseUpload(upload_id=target.upload_id, at=now, by=by),), ("paused", *FINISHED))
    return CommandRefused(f"Only an upload that is `in_progress` can be paused; this one is `{target.state}`.")


def resume(target: Target, *, by: str, now: datetime) -> CommandDecision:
    if target.state == "in_progress":
        return CommandAccepted((), ("in_progress",))
    if target.state == "paused":
        return CommandAccepted((ResumeUpload(upload_id=target.upload_id, at=now, by=by),), ("in_progress", *FINISHED))
    return CommandRefused(f"Only an upload that is `paused` can be resumed; this one is `{target.state}`.")


def cancel(target: Target, *, by: str, now: datetime) -> CommandDecision:
    if target.state == "cancelled":
        return CommandAccepted((), ("cancelled",))
    if target.state in FINISHED:
        return CommandRefused(f"The upload is already `{target.state}`; there is nothing left to stop.")
    return CommandAccepted((CancelUpload(upload_id=target.upload_id, at=now, by=by),), FINISHED)


def retry_failed(
    target: Target,
    *,
    by: str,
    now: datetime,
    force: bool,
    only: Failures | None = None,
    but_not: tuple[Failures, ...] = (),
) -> CommandDecision:
    """`only` None: all failed rows. Failures in one of `but_not` are not tried again."""
    if target.state in ("in_progress", "paused") and target.round > 0:
        return CommandAccepted((), (target.state,))
    if target.state != "completed":
        return CommandRefused(f"Failed rows can be tried again when the upload is `completed`; it is `{target.state}`.")
    if target.cancelled:
        return CommandRefused("A cancellation of this upload was asked for. Use `reprocess` to run its file again.")
    if not target.failed:
        return CommandRefused("No row of this upload failed.")
    if target.round >= MAX_INT32:
        return CommandRefused("Its failed rows were tried as often as rounds can be counted.")
    if target.round >= MOST_ROUNDS and not force:
        return CommandRefused(
            f"Its failed rows were tried {target.round} more times already. Send `force: true` to try once more."
        )
    event = RetryFailed(upload_id=target.upload_id, at=now, by=by, round=target.round + 1, only=only, but_not=but_not)
    return CommandAccepted((event,), ("in_progress", "paused"))


def set_priority(target: Target, priority: int, *, by: str, now: datetime) -> CommandDecision:
    if target.state in FINISHED:
        return CommandRefused(f"The upload is `{target.state}`; its priority no longer matters.")
    return CommandAccepted(
        (SetPriority(upload_id=target.upload_id, at=now, by=by, priority=priority),), (target.state,)
    )


def delete(target: Target, *, by: str, now: datetime) -> CommandDecision:
    """An unfinished upload is cancelled first, so that no part continues to work for a deleted upload."""
    gone = DeleteUpload(upload_id=target.upload_id, at=now, by=by)
    if target.state in FINISHED:
        return CommandAccepted((gone,), ())
    return CommandAccepted((CancelUpload(upload_id=target.upload_id, at=now, by=by), gone), ())

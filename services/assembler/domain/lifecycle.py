"""Decides what the events of an upload mean: folds them into the stored upload and derives its state; pure.

Events of an upload lie on one partition, in order. Rows and results come from other partitions, in any order, so the
state is always derived from what is stored. The one exception is the announced end of a round: it never changes,
because other systems know it.
"""

import json
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from schemas.starts import accept_since_of
from schemas.upload_events import (
    CancelUpload,
    DeleteUpload,
    DismissFailed,
    Failures,
    OperatorActed,
    PauseUpload,
    ResumeUpload,
    RetryFailed,
    SetOptions,
    SetPriority,
    StartUpload,
    UploadChecked,
    UploadChecking,
    UploadEvent,
    UploadFed,
    UploadOpened,
    UploadRefused,
)
from schemas.uploads import Detected, UploadState
from services.assembler.domain.answers import PartialRound, UploadWant
from services.assembler.domain.stored import StoredUpload
from services.assembler.domain.stored_numbers import EPOCH

NEVER = datetime.max.replace(tzinfo=EPOCH.tzinfo)
"""`accept_since` of an upload that has not been started: only a result that names it can answer."""


@dataclass(frozen=True, slots=True)
class Announced:
    """The end of a round as its completion event announced it: the state, and when it was reached."""

    state: UploadState
    at: datetime


def depends_on_announced(event: UploadEvent) -> bool:
    """Whether the event has another effect after the completion event of the upload's round was written."""
    return isinstance(event, CancelUpload | UploadRefused)


def fold(
    upload: StoredUpload, event: UploadEvent, *, max_age_seconds: int, announced: Announced | None = None
) -> StoredUpload:
    """The upload after the event.

    `max_age_seconds`: how old an answer may be if the upload's options do not say. `announced`: the announced end of
    the upload's round, if any; only for events that depend on it.
    """
    match event:
        case UploadOpened():
            return _opened(upload, event, max_age_seconds)
        case UploadChecking():
            return replace(upload, checking_at=upload.checking_at or event.at)
        case UploadChecked():
            return _checked(upload, event)
        case UploadRefused():
            return upload if announced else _refused(upload, event)
        case UploadFed():
            return upload if upload.fed_at else replace(upload, fed_at=event.at, fed_rows=event.rows)
        case StartUpload():
            return _wanted(upload, event.at, max_age_seconds)
        case SetOptions():
            return upload if upload.wanted_at else _to_be_checked_again(upload, event)
        case SetPriority():
            return replace(upload, priority=event.priority)
        case PauseUpload():
            return replace(upload, paused=True)
        case ResumeUpload():
            return replace(upload, paused=False)
        case CancelUpload():
            return _cancelled(upload, event, announced)
        case RetryFailed():
            return _retried(upload, event)
        case DismissFailed() | OperatorActed():
            return upload
        case DeleteUpload():
            return replace(upload, deleted_at=upload.deleted_at or event.at)


def _opened(upload: StoredUpload, event: UploadOpened, max_age_seconds: int) -> StoredUpload:
    if upload.created_at is not None:
        return upload
    opened = replace(
        upload,
        created_at=event.at,
        name=event.name,
        owner=event.owner,
        operation=event.operation,
        parent_id=event.parent_id,
        file_bytes=event.bytes,
        sha256=event.sha256,
        file=None if event.file is None else event.file.model_dump_json(),
        options=event.options.model_dump_json(),
        priority=event.options.priority,
        detected=_columns_of_rows(event),
    )
    return _wanted(opened, event.at, max_age_seconds) if event.options.start else opened


def _columns_of_rows(event: UploadOpened) -> str | None:
    """The columns that another system announced for its rows, as JSON."""
    if event.file is not None or not event.columns:
        return None
    return Detected(format="kafka", columns=event.columns).model_dump_json()


def _checked(upload: StoredUpload, event: UploadChecked) -> StoredUpload:
    if upload.check_id == event.check_id:
        return upload
    return replace(
        upload,
        check_id=event.check_id,
        detected=event.detected.model_dump_json(),
        preview=event.preview.model_dump_json(),
        options=event.options.model_dump_json(),
        plan_rows=event.counts.rows,
        plan_with_phone=event.counts.with_phone,
        plan_usable=event.counts.usable,
        plan_split=event.counts.split,
        plan_distinct=event.counts.distinct,
        plan_known=None,
    )


def _to_be_checked_again(upload: StoredUpload, event: SetOptions) -> StoredUpload:
    """Other options make the plan void: no person may start an upload by outdated figures."""
    return replace(
        upload,
        options=event.options.model_dump_json(),
        check_id=None,
        detected=None,
        preview=None,
        plan_rows=None,
        plan_with_phone=None,
        plan_usable=None,
        plan_split=None,
        plan_distinct=None,
        plan_known=None,
    )


def _refused(upload: StoredUpload, event: UploadRefused) -> StoredUpload:
    if upload.refused is not None:
        return upload
    problem = event.model_dump_json(include={"code", "title", "detail"})
    return replace(upload, refused=problem, last_settled_at=latest(upload.last_settled_at, event.at))


def _wanted(upload: StoredUpload, at: datetime, max_age_seconds: int) -> StoredUpload:
    """The first start sets `wanted_at`, and with it how old an answer may be. Later ones change neither."""
    if upload.wanted_at is not None:
        return upload
    chosen = json.loads(upload.options or "{}").get("max_age_seconds")
    since = accept_since_of(at, chosen_seconds=chosen, default_seconds=max_age_seconds)
    return replace(upload, wanted_at=at, accept_since=since)


def _cancelled(upload: StoredUpload, event: CancelUpload, announced: Announced | None) -> StoredUpload:
    """A cancellation that came after the announced end of the round counts from that end, which never changes."""
    if upload.cancelled_at or upload.refused:
        return upload
    if announced is None or announced.state == "cancelled":
        return replace(upload, cancelled_at=event.at)
    return replace(upload, cancelled_at=max(event.at, announced.at))


def _retried(upload: StoredUpload, event: RetryFailed) -> StoredUpload:
    if upload.refused or upload.cancelled_at or event.round <= upload.round:
        return upload
    if event.only is None and not event.but_not:
        return replace(upload, round=event.round, full_round=event.round, partial_rounds=None, finished_at=None)
    partial = json.loads(upload.partial_rounds or "[]")
    partial.append(event.model_dump(mode="json", include={"round", "only", "but_not"}))
    return replace(upload, round=event.round, partial_rounds=json.dumps(partial), finished_at=None)


@lru_cache(maxsize=256)
def _partial_rounds(text: str | None) -> tuple[PartialRound, ...]:
    return tuple(
        PartialRound(
            one["round"],
            None if one["only"] is None else Failures.model_validate(one["only"]),
            tuple(Failures.model_validate(failures) for failures in one["but_not"]),
        )
        for one in json.loads(text or "[]")
    )


def want_of(upload: StoredUpload) -> UploadWant | None:
    """The results that the upload wants; None until it was opened."""
    if upload.created_at is None or upload.deleted_at is not None:
        return None
    return UploadWant(
        upload.id,
        upload.full_round,
        upload.accept_since or NEVER,
        upload.cancelled_at,
        _partial_rounds(upload.partial_rounds),
    )


class DerivedState(NamedTuple):
    """The state of an upload, and when it was finished in this round, if it is."""

    state: UploadState
    finished_at: datetime | None


def derived_state(upload: StoredUpload, announced: Announced | None = None) -> DerivedState:
    """The state that follows from what is stored of the upload.

    A cancelled upload is `cancelled`, unless all rows had their outcome before the cancellation: then it is
    `completed`, in whatever order the records were read. If another end of the round was announced before, that stands.

    `finished_at` is the newest time among the events and results that ended the upload, not the clock's: a rebuilt
    database holds the same. An upload that was not opened yet has no end, since its end could not be announced.
    """
    if upload.created_at is None:
        return DerivedState("pending", None)
    if upload.refused is not None:
        return DerivedState("failed", latest(upload.last_settled_at, upload.created_at))
    everything_stored = upload.fed_rows is not None and upload.stored_rows >= upload.fed_rows
    end = latest(upload.last_settled_at, upload.fed_at, upload.created_at)
    done = everything_stored and upload.waiting == 0
    if upload.cancelled_at is not None:
        if announced is not None:
            return DerivedState(announced.state, announced.at)
        if not (done and end is not None and end <= upload.cancelled_at):
            # The feeder sends the rows of a cancelled file all the same. Another system that was never told to start
            # sends none.
            never_fed = upload.wanted_at is None and upload.operation == "kafka"
            finished = everything_stored or never_fed or upload.lacks_rows
            return DerivedState("cancelled", latest(end, upload.cancelled_at) if finished else None)
    if done:
        return DerivedState("completed", end)
    if upload.lacks_rows:
        return DerivedState("failed", end)
    return DerivedState(_unfinished(upload), None)


def _unfinished(upload: StoredUpload) -> UploadState:
    if upload.wanted_at is not None and upload.paused:
        return "paused"
    readable = upload.check_id is not None or upload.operation == "kafka" or upload.stored_rows > 0
    if readable:
        return "in_progress" if upload.wanted_at is not None else "checked"
    return "checking" if upload.checking_at is not None else "pending"


def latest(*moments: datetime | None) -> datetime | None:
    """The newest of the given times; None if there is none."""
    return max((moment for moment in moments if moment is not None), default=None)

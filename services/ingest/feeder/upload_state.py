"""Decides the feeder's next step for one upload, from a fold of its events."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from schemas.starts import accept_since_of
from schemas.upload_events import (
    CancelUpload,
    DeleteUpload,
    SetOptions,
    SetPriority,
    StartUpload,
    UploadChecked,
    UploadEvent,
    UploadFed,
    UploadOpened,
    UploadRefused,
)
from schemas.uploads import FeedCheckpoint, UploadOptions, UploadProgress

Step = Literal["check", "wait", "feed", "nothing"]
"""What an upload needs next.

check    read the file from end to end and publish its layout
wait     checked, and a person has not started it yet
feed     publish its rows; the rest of a cancelled one as rejected rows
nothing  the upload is over, or the feeder has no part in it
"""


@dataclass(frozen=True, slots=True)
class JoinCounts:
    """The counts of an upload by the join: rows with an outcome, all stored rows, paid calls, known phones."""

    rows: int = 0
    stored: int = 0
    calls: int = 0
    known: int | None = None

    @classmethod
    def of(cls, progress: UploadProgress) -> "JoinCounts":
        counts = progress.counts
        finished = counts.answered + counts.failed + counts.rejected
        return cls(finished, finished + counts.waiting, counts.calls, progress.known)


@dataclass(frozen=True, slots=True)
class FeederUpload:
    """One upload as the feeder sees it.

    `check_id` identifies the check with the present options. `checked` is the outcome of that check, if there is one.
    """

    opened: UploadOpened
    options: UploadOptions
    check_id: str
    check_asked_at: datetime
    priority: int
    started_at: datetime | None = None
    max_calls: int | None = None
    sample_rows: int | None = None
    checked: UploadChecked | None = None
    cancelled: bool = False
    over: bool = False

    @property
    def upload_id(self) -> str:
        return self.opened.upload_id

    def accept_since(self, *, default_max_age_seconds: int) -> datetime:
        """The time of the oldest acceptable answer. Before the start, the request of the check counts as the start."""
        return accept_since_of(
            self.started_at or self.check_asked_at,
            chosen_seconds=self.options.max_age_seconds,
            default_seconds=default_max_age_seconds,
        )


def opened_upload(opened: UploadOpened, *, offset: int) -> FeederUpload:
    """The state after the first `UploadOpened` of an id. `offset`: of that record on `upload-events`."""
    options = opened.options
    return FeederUpload(
        opened=opened,
        options=options,
        check_id=f"{opened.upload_id}.{offset}",
        check_asked_at=opened.at,
        priority=options.priority,
        started_at=opened.at if options.start else None,
        max_calls=options.max_calls,
        sample_rows=options.sample_rows,
        # An upload without a file gets its rows from another system, so the feeder does nothing for it.
        over=opened.file is None,
    )


def fold(upload: FeederUpload | None, event: UploadEvent, *, offset: int) -> FeederUpload | None:
    """The state after an event. A repeated event changes nothing, nor does an event of an unopened upload."""
    if upload is None:
        return opened_upload(event, offset=offset) if isinstance(event, UploadOpened) else None
    if upload.over:
        return upload
    change = _CHANGES.get(type(event))
    return upload if change is None else change(upload, event, offset)


def next_step(upload: FeederUpload) -> Step:
    """The feeder's next step. A cancelled upload is checked and fed too, because its result file has all rows."""
    if upload.over:
        return "nothing"
    if upload.checked is None:
        return "check"
    return "feed" if upload.started_at is not None or upload.cancelled else "wait"


def usable_checkpoint(upload: FeederUpload, checkpoint: FeedCheckpoint | None, *, rows: int) -> FeedCheckpoint | None:
    """The checkpoint, if it belongs to the present check and lies within its rows."""
    if checkpoint is None or checkpoint.check_id != upload.check_id:
        return None
    fed_rows = checkpoint.next_row - 1
    return checkpoint if checkpoint.rejected <= fed_rows <= rows else None


def _on_checked(upload: FeederUpload, event: UploadEvent, _offset: int) -> FeederUpload:
    assert isinstance(event, UploadChecked)
    return replace(upload, checked=event) if event.check_id == upload.check_id else upload


def _on_start(upload: FeederUpload, event: UploadEvent, _offset: int) -> FeederUpload:
    assert isinstance(event, StartUpload)
    if upload.started_at is not None:
        return upload
    return replace(
        upload,
        started_at=event.at,
        max_calls=upload.max_calls if event.max_calls is None else event.max_calls,
        sample_rows=upload.sample_rows if event.sample_rows is None else event.sample_rows,
    )


def _on_options(upload: FeederUpload, event: UploadEvent, offset: int) -> FeederUpload:
    assert isinstance(event, SetOptions)
    if upload.started_at is not None or upload.cancelled:
        return upload
    return replace(
        upload,
        options=event.options,
        check_id=f"{upload.upload_id}.{offset}",
        check_asked_at=event.at,
        priority=event.options.priority,
        max_calls=event.options.max_calls,
        sample_rows=event.options.sample_rows,
        checked=None,
    )


def _on_priority(upload: FeederUpload, event: UploadEvent, _offset: int) -> FeederUpload:
    assert isinstance(event, SetPriority)
    return replace(upload, priority=event.priority)


def _on_cancel(upload: FeederUpload, _event: UploadEvent, _offset: int) -> FeederUpload:
    return replace(upload, cancelled=True)


def _on_end(upload: FeederUpload, _event: UploadEvent, _offset: int) -> FeederUpload:
    return replace(upload, over=True)


_CHANGES: dict[type, Callable[[FeederUpload, UploadEvent, int], FeederUpload]] = {
    UploadChecked: _on_checked,
    StartUpload: _on_start,
    SetOptions: _on_options,
    SetPriority: _on_priority,
    CancelUpload: _on_cancel,
    UploadRefused: _on_end,
    UploadFed: _on_end,
    DeleteUpload: _on_end,
}

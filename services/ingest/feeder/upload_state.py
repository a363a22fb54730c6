"""Decides what the feeder must do for one upload: a fold of its events, and the step that follows from it."""

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

check    read the file from end to end and tell what it is
wait     checked, and a person has not started it yet
feed     publish its rows; the rest of a cancelled one as rejected rows
nothing  all is done, or others do it
"""


@dataclass(frozen=True, slots=True)
class Settled:
    """What the join has counted of an upload: rows with an outcome, rows it holds at all, calls paid, phones known."""

    rows: int = 0
    stored: int = 0
    calls: int = 0
    known: int | None = None

    @classmethod
    def of(cls, progress: UploadProgress) -> "Settled":
        counts = progress.counts
        settled = counts.answered + counts.failed + counts.rejected
        return cls(settled, settled + counts.waiting, counts.calls, progress.known)


@dataclass(frozen=True, slots=True)
class Case:
    """One upload as the feeder sees it.

    `check_id` names the reading that its present options ask for; `checked` is that reading's outcome, if there is one.
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
        """From when on an answer is young enough. Before the start: as if started when the check was asked for."""
        return accept_since_of(
            self.started_at or self.check_asked_at,
            chosen_seconds=self.options.max_age_seconds,
            default_seconds=default_max_age_seconds,
        )


def open_case(opened: UploadOpened, *, offset: int) -> Case:
    """The case that the first `UploadOpened` of an id begins. `offset` is that record's, on `upload-events`."""
    options = opened.options
    return Case(
        opened=opened,
        options=options,
        check_id=f"{opened.upload_id}.{offset}",
        check_asked_at=opened.at,
        priority=options.priority,
        started_at=opened.at if options.start else None,
        max_calls=options.max_calls,
        sample_rows=options.sample_rows,
        # Rows that another system produces itself are none of the feeder's business.
        over=opened.file is None,
    )


def fold(case: Case | None, event: UploadEvent, *, offset: int) -> Case | None:
    """The case after an event. Repetitions change nothing, nor does an event of an upload that was never opened."""
    if case is None:
        return open_case(event, offset=offset) if isinstance(event, UploadOpened) else None
    if case.over:
        return case
    change = _CHANGES.get(type(event))
    return case if change is None else change(case, event, offset)


def next_step(case: Case) -> Step:
    """What the feeder must do now. A cancelled upload is checked and fed all the same: its result file has all rows."""
    if case.over:
        return "nothing"
    if case.checked is None:
        return "check"
    return "feed" if case.started_at is not None or case.cancelled else "wait"


def usable_checkpoint(case: Case, checkpoint: FeedCheckpoint | None, *, rows: int) -> FeedCheckpoint | None:
    """The checkpoint, if it belongs to the reading that is in force and lies within its rows."""
    if checkpoint is None or checkpoint.check_id != case.check_id:
        return None
    fed_rows = checkpoint.next_row - 1
    return checkpoint if checkpoint.rejected <= fed_rows <= rows else None


def _on_checked(case: Case, event: UploadEvent, _offset: int) -> Case:
    assert isinstance(event, UploadChecked)
    return replace(case, checked=event) if event.check_id == case.check_id else case


def _on_start(case: Case, event: UploadEvent, _offset: int) -> Case:
    assert isinstance(event, StartUpload)
    if case.started_at is not None:
        return case
    return replace(
        case,
        started_at=event.at,
        max_calls=case.max_calls if event.max_calls is None else event.max_calls,
        sample_rows=case.sample_rows if event.sample_rows is None else event.sample_rows,
    )


def _on_options(case: Case, event: UploadEvent, offset: int) -> Case:
    assert isinstance(event, SetOptions)
    if case.started_at is not None or case.cancelled:
        return case
    return replace(
        case,
        options=event.options,
        check_id=f"{case.upload_id}.{offset}",
        check_asked_at=event.at,
        priority=event.options.priority,
        max_calls=event.options.max_calls,
        sample_rows=event.options.sample_rows,
        checked=None,
    )


def _on_priority(case: Case, event: UploadEvent, _offset: int) -> Case:
    assert isinstance(event, SetPriority)
    return replace(case, priority=event.priority)


def _on_cancel(case: Case, _event: UploadEvent, _offset: int) -> Case:
    return replace(case, cancelled=True)


def _on_end(case: Case, _event: UploadEvent, _offset: int) -> Case:
    return replace(case, over=True)


_CHANGES: dict[type, Callable[[Case, UploadEvent, int], Case]] = {
    UploadChecked: _on_checked,
    StartUpload: _on_start,
    SetOptions: _on_options,
    SetPriority: _on_priority,
    CancelUpload: _on_cancel,
    UploadRefused: _on_end,
    UploadFed: _on_end,
    DeleteUpload: _on_end,
}

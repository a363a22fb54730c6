"""Owns the messages on `upload-events`: what happened to an upload, and what people and operators commanded."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from schemas.base import Message
from schemas.uploads import Columns, Detected, FileCounts, FileLocation, Operation, Preview, UploadOptions
from schemas.values import (
    AnyMoment,
    ByteCount,
    Count,
    Moment,
    Name,
    Owner,
    Priority,
    Round,
    Sentence,
    Token,
    UploadId,
    Word,
)


class UploadEventBase(Message):
    upload_id: UploadId
    at: Moment
    by: Owner = "system"


class UploadOpened(UploadEventBase):
    """A file is stored in Kafka, or another system begins to produce rows (`file` is None, operation `kafka`).

    The first one of an id counts. `options.start` true: `at` is also the time of its start.
    """

    type: Literal["upload_opened"] = "upload_opened"
    name: Name
    owner: Owner
    operation: Operation = "upload"
    parent_id: UploadId | None = None
    options: UploadOptions = UploadOptions()
    file: FileLocation | None = None
    bytes: ByteCount | None = None
    sha256: Word | None = None
    columns: Columns = ()


class UploadChecking(UploadEventBase):
    """The feeder has begun to read the file."""

    type: Literal["upload_checking"] = "upload_checking"


class UploadChecked(UploadEventBase):
    """The file was read from end to end. `check_id` names this reading on `plan-questions`."""

    type: Literal["upload_checked"] = "upload_checked"
    check_id: Token
    detected: Detected
    counts: FileCounts
    preview: Preview = Preview()
    options: UploadOptions


class UploadRefused(UploadEventBase):
    """The file cannot be processed. `code` is the last part of the problem type."""

    type: Literal["upload_refused"] = "upload_refused"
    code: Token
    title: Word
    detail: Sentence


class UploadFed(UploadEventBase):
    """Every row has been published: `rows` read, of which `rejected` went to `rejected-rows`."""

    type: Literal["upload_fed"] = "upload_fed"
    rows: Count
    rejected: Count


class StartUpload(UploadEventBase):
    """A person starts the upload with the options that were checked. The first start sets its `wanted_at`.

    `max_calls` and `sample_rows` replace those of the options, unless they are null.
    """

    type: Literal["start_upload"] = "start_upload"
    max_calls: Count | None = None
    sample_rows: Count | None = None


class SetOptions(UploadEventBase):
    type: Literal["set_options"] = "set_options"
    options: UploadOptions


class PauseUpload(UploadEventBase):
    type: Literal["pause_upload"] = "pause_upload"


class ResumeUpload(UploadEventBase):
    type: Literal["resume_upload"] = "resume_upload"


class CancelUpload(UploadEventBase):
    type: Literal["cancel_upload"] = "cancel_upload"


class Failures(Message):
    """Selects failures of an upload: those with this error code, looked up at `after` or later and before `before`."""

    error_code: Token | None = None
    after: AnyMoment | None = None
    before: AnyMoment | None = None

    def include(self, error_code: str | None, looked_up_at: datetime) -> bool:
        """Whether a failure is one of them."""
        return (
            (self.error_code is None or self.error_code == error_code)
            and (self.after is None or looked_up_at >= self.after)
            and (self.before is None or looked_up_at < self.before)
        )


class RetryFailed(UploadEventBase):
    """Ask again for the failed rows, as `round`. Repeating a round changes nothing.

    `only` selects failures; null: all of them. Failures that one of `but_not` selects stay as they are.
    """

    type: Literal["retry_failed"] = "retry_failed"
    round: Annotated[Round, Field(ge=1)]
    only: Failures | None = None
    but_not: Annotated[tuple[Failures, ...], Field(max_length=100)] = ()


class DismissFailed(UploadEventBase):
    """Take failures that exist by now off the dead letters. The rows stay failed and can be retried."""

    type: Literal["dismiss_failed"] = "dismiss_failed"
    only: Failures = Failures()


class SetPriority(UploadEventBase):
    type: Literal["set_priority"] = "set_priority"
    priority: Priority


class DeleteUpload(UploadEventBase):
    type: Literal["delete_upload"] = "delete_upload"


class OperatorActed(UploadEventBase):
    """An operator did something that concerns no single upload; for the audit list. `upload_id` is `NO_UPLOAD`.

    It is written before the action. `sweep`: the join sweeps when it reads this, and keeps the counts under `sweep_id`.
    """

    type: Literal["operator_acted"] = "operator_acted"
    upload_id: Literal["-"] = "-"
    action: Literal["pause_calls", "resume_calls", "sweep", "forget_phone", "retry_bad_records"]
    sweep_id: Token | None = None
    phone_masked: Word | None = None
    records: Count | None = None
    """How many bad records are published again."""


NO_UPLOAD = "-"


UploadEvent = Annotated[
    UploadOpened
    | UploadChecking
    | UploadChecked
    | UploadRefused
    | UploadFed
    | StartUpload
    | SetOptions
    | PauseUpload
    | ResumeUpload
    | CancelUpload
    | RetryFailed
    | DismissFailed
    | SetPriority
    | DeleteUpload
    | OperatorActed,
    Field(discriminator="type"),
]
UPLOAD_EVENT: TypeAdapter[UploadEvent] = TypeAdapter(UploadEvent)

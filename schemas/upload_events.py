"""Messages on `upload-events`: what happened to an upload, what people want of it, what operators did."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from schemas.base import Message, Moment
from schemas.uploads import Detected, FileCounts, FileLocation, Operation, Preview, UploadOptions


class UploadEventBase(Message):
    upload_id: str
    at: Moment
    by: str = "system"


class UploadOpened(UploadEventBase):
    """A file is stored in Kafka, or another system begins to produce rows (`file` is None, operation `kafka`).

    The first one of an id counts. `options.start` true: `at` is also the time of its start.
    """

    type: Literal["upload_opened"] = "upload_opened"
    name: str
    owner: str
    operation: Operation = "upload"
    parent_id: str | None = None
    options: UploadOptions = UploadOptions()
    file: FileLocation | None = None
    bytes: int | None = None
    sha256: str | None = None
    columns: tuple[str, ...] = ()


class UploadChecking(UploadEventBase):
    """The feeder has begun to read the file."""

    type: Literal["upload_checking"] = "upload_checking"


class UploadChecked(UploadEventBase):
    """The file was read from end to end. `check_id` names this reading on `plan-questions`."""

    type: Literal["upload_checked"] = "upload_checked"
    check_id: str
    detected: Detected
    counts: FileCounts
    preview: Preview = Preview()
    options: UploadOptions


class UploadRefused(UploadEventBase):
    """The file cannot be processed. `code` is the last part of the problem type."""

    type: Literal["upload_refused"] = "upload_refused"
    code: str
    title: str
    detail: str


class UploadFed(UploadEventBase):
    """Every row has been published: `rows` read, of which `rejected` went to `rejected-rows`."""

    type: Literal["upload_fed"] = "upload_fed"
    rows: int
    rejected: int


class StartUpload(UploadEventBase):
    """Go. The first one sets the upload's `wanted_at`; `options` if they differ from those checked."""

    type: Literal["start_upload"] = "start_upload"
    max_calls: int | None = None
    sample_rows: int | None = None


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
    """Which of an upload's failures: those of this error code, looked up from `after` on and before `before`."""

    error_code: str | None = None
    after: Moment | None = None
    before: Moment | None = None

    def include(self, error_code: str | None, looked_up_at: datetime) -> bool:
        """Whether a failure is one of them."""
        return (
            (self.error_code is None or self.error_code == error_code)
            and (self.after is None or looked_up_at >= self.after)
            and (self.before is None or looked_up_at < self.before)
        )


class RetryFailed(UploadEventBase):
    """Ask again for the failed rows, as `round`; repeating a round changes nothing.

    `only` None: for all of them. Those in one of `but_not` are left as they are.
    """

    type: Literal["retry_failed"] = "retry_failed"
    round: int = Field(ge=1)
    only: Failures | None = None
    but_not: tuple[Failures, ...] = ()


class DismissFailed(UploadEventBase):
    """Take failures off the dead letters, at the latest those up to now; the rows stay failed and can be retried."""

    type: Literal["dismiss_failed"] = "dismiss_failed"
    only: Failures = Failures()


class SetPriority(UploadEventBase):
    type: Literal["set_priority"] = "set_priority"
    priority: int = Field(ge=1, le=5)


class DeleteUpload(UploadEventBase):
    type: Literal["delete_upload"] = "delete_upload"


class OperatorActed(UploadEventBase):
    """An operator did something that is about no upload: for the audit list. `upload_id` is `NO_UPLOAD`.

    It is written before the deed. `sweep`: the join sweeps on reading it and keeps the figures under `sweep_id`.
    """

    type: Literal["operator_acted"] = "operator_acted"
    upload_id: Literal["-"] = "-"
    action: Literal["pause_calls", "resume_calls", "sweep", "forget_phone"]
    sweep_id: str | None = None
    phone_masked: str | None = None


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

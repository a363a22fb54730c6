"""Messages about uploads: what happened to one, what people want of it, its progress, and the questions of a plan."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from schemas.base import Message, Moment

Operation = Literal["upload", "reprocess", "pull", "kafka"]
UploadState = Literal["pending", "checking", "checked", "in_progress", "paused", "completed", "failed", "cancelled"]
"""Life of an upload.

pending      stored in Kafka, nobody has read it yet
checking     the feeder reads it: format, columns, plan
checked      waits for a person's start (only with start=false)
in_progress  rows are published, looked up and joined
paused       like in_progress, but no calls are made for it
completed    every row has its outcome
failed       refused when it was checked, or rows went missing
cancelled    stopped early; what was known until then is kept
"""
Finished = Literal["completed", "failed", "cancelled"]
WhyCode = Literal[
    "being_read",
    "waiting_turn",
    "backoff",
    "paused",
    "account_problem",
    "provider_down",
    "provider_throttled",
    "shared_with_other_upload",
    "part_down",
    "rows_missing",
]


class UploadOptions(Message):
    """What a person may choose. None: found out from the content, or the service's default."""

    phone_columns: tuple[str | int, ...] = ()
    area_column: str | int | None = None
    region: str | None = Field(default=None, pattern=r"^[A-Z]{2}$")
    priority: int = Field(default=3, ge=1, le=5)
    max_age_seconds: int | None = Field(default=None, ge=0)
    start: bool = True
    max_calls: int | None = Field(default=None, ge=0)
    sample_rows: int | None = Field(default=None, ge=1)
    sheet: str | None = None
    header: bool | None = None
    encoding: str | None = None
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)


class FileLocation(Message):
    """Where a file's records lie on `upload-files`: those of one `attempt` between two offsets, both included."""

    partition: int
    first_offset: int
    last_offset: int
    chunks: int
    attempt: str


class Detected(Message):
    """What the file turned out to be. `encoding` is Python's codec name, `phone_columns` are 0-based."""

    format: Literal["csv", "xlsx", "jsonl", "kafka"]
    encoding: str | None = None
    delimiter: str | None = None
    sheet: str | None = None
    sheets: tuple[str, ...] = ()
    header: bool = True
    skipped_lines: int = 0
    columns: tuple[str, ...] = ()
    phone_columns: tuple[int, ...] = ()
    other_phone_columns: tuple[int, ...] = ()
    area_column: int | None = None
    area_column_candidates: tuple[int, ...] = ()
    region: str | None = None
    width: int | None = None
    """Most cells in any row, the header's included; known once the whole file was read."""
    quoting: dict[str, Any] = Field(default_factory=dict)
    """What a parser needs beyond the above to read the file again exactly as before."""


class ColumnProfile(Message):
    """A column as the check page shows it."""

    index: int
    header: str | None
    samples: tuple[str, ...]
    phone_share: float


class PreviewRow(Message):
    """One of the first rows, with what would happen to it."""

    row: int
    line: int | None
    cells: tuple[str, ...]
    phone: str | None
    problem: str | None


class Preview(Message):
    columns: tuple[ColumnProfile, ...] = ()
    rows: tuple[PreviewRow, ...] = ()
    problems: dict[str, int] = Field(default_factory=dict)
    """Rejected rows by code."""


class FileCounts(Message):
    """What a whole pass over the file counted; `usable - split` rows had a phone as their whole cell."""

    rows: int
    with_phone: int
    usable: int
    split: int
    distinct: int


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


class PlanQuestion(Message):
    """Some distinct phones of a checked file; the join adds up how many are already known. Key: the upload id.

    Batches of one `check_id` are numbered from 0; `last` closes the sum.
    """

    upload_id: str
    check_id: str
    batch: int
    last: bool
    accept_since: Moment
    phones: tuple[str, ...]


class FeedCheckpoint(Message):
    """Where the feeder goes on after a restart. `next_row` counts data rows from 1; null value: nothing left to do."""

    upload_id: str
    check_id: str
    detected: Detected
    options: UploadOptions
    counts: FileCounts
    next_row: int
    rejected: int
    at: Moment


class Counts(Message):
    """Rows by state; always rows = waiting + answered + failed + rejected + unprocessed."""

    rows: int = 0
    waiting: int = 0
    answered: int = 0
    failed: int = 0
    rejected: int = 0
    unprocessed: int = 0
    duplicates: int = 0
    calls: int = 0
    retries: int = 0


class UploadProgress(Message):
    """An upload's counts as of one SQL transaction. `seq` grows with every change within one `epoch` (the database)."""

    upload_id: str
    epoch: str
    seq: int
    at: Moment
    state: UploadState
    round: int
    counts: Counts
    known: int | None
    """Distinct phones of the plan that were known, once all its questions are answered."""

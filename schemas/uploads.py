"""What is said of an upload: its states, options and file, the questions of its plan, its progress."""

from typing import Any, Literal

from pydantic import Field

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

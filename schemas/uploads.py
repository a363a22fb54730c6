"""Owns the messages about an upload: its states, options and file, the questions of its plan, its progress."""

from typing import Annotated, Final, Literal

from pydantic import Field

from schemas.base import Message
from schemas.values import (
    MOST_COLUMNS,
    Cells,
    ColumnIndex,
    ColumnRef,
    Count,
    HeaderText,
    LineNumber,
    MaxAge,
    Moment,
    Offset,
    PartitionNumber,
    Phone,
    Priority,
    Round,
    RowNumber,
    SampleText,
    Share,
    Token,
    UploadId,
    Version,
    Word,
)

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
FINISHED: Final[tuple[UploadState, ...]] = ("completed", "failed", "cancelled")
"""States in which nothing more happens to an upload, unless its failed rows are asked again."""
UNFINISHED: Final[tuple[UploadState, ...]] = ("pending", "checking", "checked", "in_progress", "paused")
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

    phone_columns: Annotated[tuple[ColumnRef, ...], Field(max_length=100)] = ()
    area_column: ColumnRef | None = None
    region: str | None = Field(default=None, pattern=r"^[A-Z]{2}$")
    priority: Priority = 3
    max_age_seconds: MaxAge | None = None
    start: bool = True
    max_calls: Count | None = None
    sample_rows: Annotated[Count, Field(ge=1)] | None = None
    sheet: Word | None = None
    header: bool | None = None
    encoding: Word | None = None
    delimiter: str | None = Field(default=None, pattern=r"^[^\x00]$")


Columns = Annotated[tuple[HeaderText, ...], Field(max_length=MOST_COLUMNS)]
"""Header texts, in the file's order."""
_Indices = Annotated[tuple[ColumnIndex, ...], Field(max_length=MOST_COLUMNS)]
_Flat = bool | Annotated[int, Field(ge=0, le=MOST_COLUMNS)] | Word | None
_Quoting = Annotated[dict[Word, _Flat | Annotated[dict[Word, _Flat], Field(max_length=20)]], Field(max_length=20)]
MOST_SHEETS = 1_000


class FileLocation(Message):
    """Where a file's records lie on `upload-files`: those of one `attempt` between two offsets, both included."""

    partition: PartitionNumber
    first_offset: Offset
    last_offset: Offset
    chunks: Count
    attempt: Token


class Detected(Message):
    """What the file turned out to be. `encoding` is Python's codec name, `phone_columns` are 0-based."""

    format: Literal["csv", "xlsx", "jsonl", "kafka"]
    encoding: Word | None = None
    delimiter: Word | None = None
    sheet: Word | None = None
    sheets: Annotated[tuple[Word, ...], Field(max_length=MOST_SHEETS)] = ()
    header: bool = True
    skipped_lines: Count = 0
    columns: Columns = ()
    phone_columns: _Indices = ()
    other_phone_columns: _Indices = ()
    area_column: ColumnIndex | None = None
    area_column_candidates: _Indices = ()
    region: Word | None = None
    width: Annotated[int, Field(ge=0, le=MOST_COLUMNS)] | None = None
    """Most cells in any row, the header's included; known once the whole file was read."""
    quoting: _Quoting = Field(default_factory=dict)
    """What a parser needs beyond the above to read the file again exactly as before."""


class ColumnProfile(Message):
    """A column as the check page shows it."""

    index: ColumnIndex
    header: HeaderText | None
    samples: Annotated[tuple[SampleText, ...], Field(max_length=100)]
    phone_share: Share


class PreviewRow(Message):
    """One of the first rows, with what would happen to it."""

    row: RowNumber
    line: LineNumber | None
    cells: Cells
    phone: Phone | None
    problem: Token | None


class Preview(Message):
    columns: Annotated[tuple[ColumnProfile, ...], Field(max_length=1_000)] = ()
    rows: Annotated[tuple[PreviewRow, ...], Field(max_length=1_000)] = ()
    problems: Annotated[dict[Token, Count], Field(max_length=100)] = Field(default_factory=dict)
    """Rejected rows by code."""


class FileCounts(Message):
    """What a whole pass over the file counted; `usable - split` rows had a phone as their whole cell."""

    rows: Count
    with_phone: Count
    usable: Count
    split: Count
    distinct: Count


class PlanQuestion(Message):
    """Some distinct phones of a checked file; the join adds up how many are already known. Key: the upload id.

    Batches of one `check_id` are numbered from 0; `last` closes the sum.
    """

    upload_id: UploadId
    check_id: Token
    batch: Count
    last: bool
    accept_since: Moment
    phones: Annotated[tuple[Phone, ...], Field(max_length=10_000)]


class FeedCheckpoint(Message):
    """The row from which the feeder continues after a restart.

    `next_row` counts data rows from 1. A null value: nothing is left to do.
    """

    upload_id: UploadId
    check_id: Token
    detected: Detected
    options: UploadOptions
    counts: FileCounts
    next_row: RowNumber
    rejected: Count
    at: Moment


class Counts(Message):
    """Rows by state; always rows = waiting + answered + failed + rejected + unprocessed."""

    rows: Count = 0
    waiting: Count = 0
    answered: Count = 0
    failed: Count = 0
    rejected: Count = 0
    unprocessed: Count = 0
    duplicates: Count = 0
    calls: Count = 0
    retries: Count = 0


class UploadProgress(Message):
    """An upload's counts as of one SQL transaction. `seq` grows with every change within one `epoch` (the database)."""

    upload_id: UploadId
    epoch: Token
    seq: Version
    at: Moment
    state: UploadState
    round: Round
    counts: Counts
    known: Count | None
    """Distinct phones of the plan that were known, once all its questions are answered."""

"""Owns the shapes of the HTTP interface and of completion events: upload, row, queue, problem, list."""

from typing import Generic, Literal, TypeVar

from pydantic import Field

from schemas.base import Message
from schemas.lookups import GateState, RowResult
from schemas.parts import Role
from schemas.rows import RowError, RowState
from schemas.uploads import (
    Counts,
    Detected,
    Operation,
    Preview,
    UploadOptions,
    UploadState,
    WhyCode,
)
from schemas.values import (
    AnyMoment,
    ByteCount,
    Count,
    Moment,
    Name,
    Owner,
    Priority,
    Quantity,
    Round,
    Sentence,
    Token,
    UploadId,
    Word,
)

I = TypeVar("I")  # noqa: E741 - the usual name of an item's type


class Why(Message):
    """Why an upload does not move on, and until when if that is known."""

    code: WhyCode
    until: AnyMoment | None = None


class Plan(Message):
    """What processing the file means, before anything is spent: `seconds` at full rate, `cost` in the set currency."""

    rows: Count
    with_phone: Count
    usable: Count
    split: Count
    distinct: Count
    known: Count | None = None
    calls: Count | None = None
    seconds: Quantity | None = None
    cost: Quantity | None = None


class Summary(Message):
    """Answered rows by verdict and by line type."""

    verdict: dict[Word, Count] = Field(default_factory=dict)
    line_type: dict[Word, Count] = Field(default_factory=dict)


class Eta(Message):
    """When the upload will be finished, as a range."""

    from_: AnyMoment = Field(alias="from", serialization_alias="from")
    to: AnyMoment


class UploadProblem(Message):
    """Why an upload was refused or failed: the last part of the problem type, and sentences for people."""

    code: Token
    title: Word
    detail: Sentence


class Links(Message):
    """Where everything about an upload is found: paths on this origin."""

    self: Word
    page: Word
    rows: Word
    events: Word
    result_csv: Word


def links_of(upload_id: str) -> Links:
    """The links of an upload."""
    own = f"/v1/uploads/{upload_id}"
    return Links(
        self=own,
        page=f"/uploads/{upload_id}",
        rows=f"{own}/rows",
        events=f"{own}/events",
        result_csv=f"{own}/result.csv",
    )


class Upload(Message):
    """An upload as everybody outside sees it. Unknown is null, never left out."""

    id: UploadId
    name: Name
    bytes: ByteCount | None
    sha256: Word | None
    owner: Owner
    operation: Operation
    parent_id: UploadId | None
    state: UploadState
    outcome: Literal["success", "partial"] | None
    round: Round
    priority: Priority
    why: Why | None
    options: UploadOptions
    detected: Detected | None
    plan: Plan | None
    preview: Preview | None = None
    counts: Counts
    summary: Summary
    position: Count | None
    eta: Eta | None
    created_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    expires_at: AnyMoment
    error: UploadProblem | None
    links: Links


class Row(Message):
    """A row of an upload with its result, if any."""

    row: int
    line: int | None
    state: RowState
    phone: str | None
    cells: tuple[str, ...]
    result: RowResult | None
    error: RowError | None


class Page(Message, Generic[I]):
    """A list. `next` is the cursor of the following page."""

    items: tuple[I, ...]
    next: str | None


class Limit(Message):
    calls: int
    window_seconds: float


class QueuedUpload(Message):
    id: str
    pending: int
    position: int | None
    why: Why | None


class QueuedCall(Message):
    upload_id: str
    phone_masked: str


PartCondition = Literal["starting", "running", "standby", "stuck", "stopping", "silent", "restarting"]
"""The state that a part reports in its heartbeat. The last two are derived:

silent      no heartbeat came for some seconds
restarting  it was restarted so often within the last minutes that it does not do its work
"""


class PartView(Message):
    """A process as operators see it. `restarts_lately`: within the last five minutes; `last_end`: why it was needed."""

    role: Role
    instance: str
    pid: int
    state: PartCondition
    active: bool
    started_at: Moment
    seen_at: Moment
    error: str | None
    restarts_lately: int = 0
    last_end: str | None = None


class Queue(Message):
    """The queue, the limit and every part, as operators see them."""

    state: GateState
    limit: Limit
    used_last_window: int
    calls_last_minute: int
    pending: int
    in_progress: int
    completed: int
    failed: int
    retries: int
    dead_letters: int
    oldest_wait_seconds: float | None
    next: tuple[QueuedCall, ...]
    uploads: tuple[QueuedUpload, ...]
    parts: tuple[PartView, ...]


class Sweep(Message):
    examined: int
    republished: int
    completed: int
    failed: int


class ErrorItem(Message):
    code: str
    row: int | None = None
    column: str | None = None
    value: str | None = None
    detail: str | None = None


class Problem(Message):
    """RFC 9457 problem details. `type` is a path on this origin."""

    type: str
    title: str
    status: int
    detail: str
    errors: tuple[ErrorItem, ...] = ()

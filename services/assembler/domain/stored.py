"""Owns what the store gives: stored uploads, rows, dead letters, changed rows, audit entries, sweeps."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from schemas.uploads import Counts, UploadState
from schemas.values import MAX_INT32


@dataclass(frozen=True, slots=True)
class StoredUpload:
    """A row of the table `uploads` with its tallies; JSON is text. `preview` is None in lists."""

    no: int
    id: str
    partition: int | None
    created_at: datetime | None
    name: str | None
    owner: str | None
    operation: str | None
    parent_id: str | None
    file_bytes: int | None
    sha256: str | None
    file: str | None
    options: str | None
    priority: int
    checking_at: datetime | None
    check_id: str | None
    detected: str | None
    preview: str | None
    plan_rows: int | None
    plan_with_phone: int | None
    plan_usable: int | None
    plan_split: int | None
    plan_distinct: int | None
    plan_known: int | None
    refused: str | None
    wanted_at: datetime | None
    accept_since: datetime | None
    paused: bool
    cancelled_at: datetime | None
    deleted_at: datetime | None
    round: int
    full_round: int
    partial_rounds: str | None
    fed_at: datetime | None
    fed_rows: int | None
    rows_missing: bool
    waiting: int
    answered: int
    failed: int
    rejected: int
    unprocessed: int
    calls: int
    retries: int
    distinct_phones: int | None
    last_settled_at: datetime | None
    state: UploadState
    finished_at: datetime | None
    version: int
    published_version: int
    first_seen_at: datetime | None = None
    verdicts: dict[str, int] = field(default_factory=dict)
    line_types: dict[str, int] = field(default_factory=dict)

    @property
    def stored_rows(self) -> int:
        return self.waiting + self.answered + self.failed + self.rejected + self.unprocessed

    @property
    def known_rows(self) -> int:
        """How many rows the upload has: the most that is stored, planned or fed."""
        return max(self.stored_rows, self.plan_rows or 0, self.fed_rows or 0)

    @property
    def lacks_rows(self) -> bool:
        """Whether rows are missing for good: fewer came than were fed, and no more will come."""
        return self.rows_missing and self.fed_rows is not None and self.stored_rows < self.fed_rows

    @property
    def counts(self) -> Counts:
        """Rows by state as people see them. Rows not fed, and waiting rows of a cancelled upload, are unprocessed."""
        waiting = 0 if self.cancelled_at else self.waiting
        return Counts(
            rows=_counted(self.known_rows),
            waiting=_counted(waiting),
            answered=_counted(self.answered),
            failed=_counted(self.failed),
            rejected=_counted(self.rejected),
            unprocessed=_counted(self.known_rows - waiting - self.answered - self.failed - self.rejected),
            duplicates=_counted(self.duplicates),
            calls=_counted(self.calls),
            retries=_counted(self.retries),
        )

    @property
    def duplicates(self) -> int:
        """Usable rows whose phone an earlier row has, by the check, or counted after all rows came."""
        if self.plan_usable is not None and self.plan_distinct is not None:
            return self.plan_usable - self.plan_distinct
        if self.distinct_phones is not None:
            return self.waiting + self.answered + self.failed - self.distinct_phones
        return 0


def _counted(number: int) -> int:
    """The number within the bounds of a count: numbers that other parts claim may lie outside."""
    return max(0, min(number, MAX_INT32))


class StoredRow(NamedTuple):
    """A row with its result, cheap to make; `cells`, `error` and `result_error` are JSON.

    `result`: the fields of a `RowResult`; None: the row has none.
    """

    row: int
    line: int | None
    state: int
    phone: str | None
    cells: str
    error: str | None
    result_error: str | None
    result: dict[str, Any] | None


class RowFilter(NamedTuple):
    """Which rows of an upload; an empty tuple means all. `states` as people see them."""

    states: tuple[str, ...] = ()
    verdicts: tuple[str, ...] = ()
    line_types: tuple[str, ...] = ()


class UploadCursor(NamedTuple):
    """The last upload of a page: the next page begins after it."""

    created_at_micros: int
    id: str


@dataclass(frozen=True, slots=True)
class RowChanges:
    """The rows that changed after a version. `complete` is False when some are no longer held or were cut off."""

    seq: int
    rows: tuple[int, ...]
    complete: bool


@dataclass(frozen=True, slots=True)
class QueueTotals:
    """Totals over the whole database.

    `dead_letters`: distinct failed phones, per upload, neither asked again since nor dismissed.
    """

    answered: int
    failed: int
    retries: int
    dead_letters: int
    uploads_by_state: dict[str, int]


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """Selects failed rows; None: any."""

    owner: str | None = None
    upload_id: str | None = None
    error_code: str | None = None
    before: datetime | None = None
    after: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoredDeadLetter:
    """A row whose phone was given up, and its failure. `error` is an `AttemptError` as JSON."""

    upload_no: int
    upload_id: str
    owner: str
    row: int
    phone: str
    attempts: int
    failed_at: datetime
    error: str | None


@dataclass(frozen=True, slots=True)
class DeadLetterGroup:
    """Failed rows of one upload for one reason."""

    upload_id: str
    error_code: str
    rows: int
    phones: int
    newest: datetime


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """`id` grows within a partition only; order by time. `detail` is JSON."""

    id: int
    at: datetime
    by: str
    action: str
    upload_id: str
    detail: str


@dataclass(frozen=True, slots=True)
class StoredSweep:
    """A sweep that a person asked for; figures are None until it is done."""

    id: str
    requested_at: datetime
    finished_at: datetime | None
    examined: int | None
    republished: int | None
    completed: int | None
    failed: int | None
    problem: str | None

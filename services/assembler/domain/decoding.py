"""Decodes the records of the join's five topics into the batches that a transaction joins; pure.

`schemas/` alone decides which values a message may hold.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeAlias

import orjson

from schemas import topics
from schemas.codec import UndecodableRecord, decode, decode_one_of
from schemas.lookups import LookupResult, parse_result_key
from schemas.rows import RejectedRow, decode_row
from schemas.upload_events import UPLOAD_EVENT, UploadEvent
from schemas.uploads import PlanQuestion
from schemas.values import EARLIEST, LATEST
from services.assembler.domain.positions import Offsets
from services.assembler.domain.stored_numbers import row_place

_ReadAll: TypeAlias = "Callable[[PartitionBatch, Iterable[TimedRecord]], None]"
_LATEST_MS = int((LATEST - EARLIEST).total_seconds()) * 1000


class TimedRecord(Protocol):
    """A record of a log; aiokafka's `ConsumerRecord` is one. `timestamp`: milliseconds since 1970."""

    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


class UsableRow(NamedTuple):
    """A row with a phone. `cells` is JSON; `at` the record's time in microseconds, `place` its place among all."""

    upload_id: str
    row: int
    line: int | None
    round: int
    phone: str
    cells: str
    at: int
    place: int


class UnusableRow(NamedTuple):
    """A row without a phone. `cells` and `error` are JSON."""

    upload_id: str
    row: int
    line: int | None
    code: str
    cells: str
    error: str
    at: int
    place: int


class PlacedResult(NamedTuple):
    """A result with its place in the log; `result` None erases the phone. `at`: the record's time in microseconds."""

    offset: int
    phone: str
    result: LookupResult | None
    at: int


class PlacedEvent(NamedTuple):
    offset: int
    event: UploadEvent


class TimedQuestion(NamedTuple):
    """A plan question and when it was asked, in microseconds."""

    question: PlanQuestion
    at: int


class Undecodable(NamedTuple):
    """A record that could not be decoded, and why. `topic` is the registry's name."""

    topic: str
    record: TimedRecord
    error: str


@dataclass(slots=True)
class PartitionBatch:
    """The messages of one partition number that a transaction joins, and the fence before and after it."""

    partition: int
    start: Offsets
    end: Offsets
    rows: list[UsableRow] = field(default_factory=list)
    rejected: list[UnusableRow] = field(default_factory=list)
    results: list[PlacedResult] = field(default_factory=list)
    events: list[PlacedEvent] = field(default_factory=list)
    questions: list[TimedQuestion] = field(default_factory=list)
    undecodable: list[Undecodable] = field(default_factory=list)


def decode_partition(
    partition: int, start: Offsets, records_by_topic: Iterable[tuple[str, Iterable[TimedRecord]]]
) -> PartitionBatch:
    """Decodes the records. Topics are the names of `Offsets`; records before the fence are skipped."""
    batch = PartitionBatch(partition, start, start)
    ends = start._asdict()
    for topic, records in records_by_topic:
        begin = ends[topic]
        fresh = [record for record in records if record.offset >= begin]
        if not fresh:
            continue
        _READ[topic](batch, fresh)
        ends[topic] = fresh[-1].offset + 1
    batch.end = Offsets(**ends)
    return batch


def _rows(batch: PartitionBatch, records: Iterable[TimedRecord]) -> None:
    """Decodes rows in one loop: a file may have a million of them."""
    dump, add, partition = orjson.dumps, batch.rows.append, batch.partition
    for record in records:
        timestamp = record.timestamp
        try:
            fields = decode_row(record.value, timestamp_ms=timestamp)
        except UndecodableRecord as error:
            _refuse(batch, "upload_rows", record, error)
            continue
        ms = timestamp if 0 <= timestamp <= _LATEST_MS else _milliseconds(record)
        cells = dump(fields.get("cells", ())).decode()
        add(
            UsableRow(
                fields["upload_id"],
                fields["row"],
                fields.get("line"),
                fields.get("round", 0),
                fields["phone"],
                cells,
                ms * 1000,
                row_place(ms, partition),
            )
        )


def _one_by_one(topic: str, read: Callable[[PartitionBatch, TimedRecord], None]) -> _ReadAll:
    def read_all(batch: PartitionBatch, records: Iterable[TimedRecord]) -> None:
        for record in records:
            try:
                read(batch, record)
            except UndecodableRecord as error:
                _refuse(batch, topic, record, error)

    return read_all


def _refuse(batch: PartitionBatch, topic: str, record: TimedRecord, error: UndecodableRecord) -> None:
    batch.undecodable.append(Undecodable(REGISTERED[topic], record, str(error)))


def _rejected(batch: PartitionBatch, record: TimedRecord) -> None:
    row = decode(RejectedRow, record.value, timestamp_ms=record.timestamp)
    cells, error, ms = orjson.dumps(row.cells).decode(), row.error.model_dump_json(), _milliseconds(record)
    place = row_place(ms, batch.partition)
    batch.rejected.append(UnusableRow(row.upload_id, row.row, row.line, row.error.code, cells, error, ms * 1000, place))


def _result(batch: PartitionBatch, record: TimedRecord) -> None:
    at = _milliseconds(record) * 1000
    if record.value is None:
        batch.results.append(PlacedResult(record.offset, _erased_phone(record.key), None, at))
        return
    result = decode(LookupResult, record.value, timestamp_ms=record.timestamp)
    batch.results.append(PlacedResult(record.offset, result.phone, result, at))


def _erased_phone(key: bytes | None) -> str:
    about = parse_result_key(key)
    if about is None:
        raise UndecodableRecord("a null value erases a phone, but the key is none")
    return about.phone


def _event(batch: PartitionBatch, record: TimedRecord) -> None:
    event: UploadEvent = decode_one_of(UPLOAD_EVENT, record.value, what="upload event", timestamp_ms=record.timestamp)
    batch.events.append(PlacedEvent(record.offset, event))


def _question(batch: PartitionBatch, record: TimedRecord) -> None:
    question = decode(PlanQuestion, record.value, timestamp_ms=record.timestamp)
    batch.questions.append(TimedQuestion(question, _milliseconds(record) * 1000))


def _milliseconds(record: TimedRecord) -> int:
    """The record's time, limited to times that a database stores: on most topics its writer may give any time."""
    return min(max(record.timestamp, 0), _LATEST_MS)


_READ: dict[str, _ReadAll] = {
    "upload_rows": _rows,
    "rejected_rows": _one_by_one("rejected_rows", _rejected),
    "lookup_results": _one_by_one("lookup_results", _result),
    "upload_events": _one_by_one("upload_events", _event),
    "plan_questions": _one_by_one("plan_questions", _question),
}
REGISTERED = {
    "upload_rows": topics.UPLOAD_ROWS.name,
    "rejected_rows": topics.REJECTED_ROWS.name,
    "lookup_results": topics.LOOKUP_RESULTS.name,
    "upload_events": topics.UPLOAD_EVENTS.name,
    "plan_questions": topics.PLAN_QUESTIONS.name,
}
"""The registry's name of each topic of `Offsets`."""

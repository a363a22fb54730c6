"""Decides what a record says: turns the bytes of the join's five topics into what a transaction works on; pure.

Rows are the bulk (a million for one file), so they are validated against the few fields that the join stores: 2.5 µs
a row instead of 6 µs for the whole message.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple, Protocol, TypeVar

import orjson
from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from schemas import topics
from schemas.codec import UndecodableRecord, decode, decode_one_of, where_and_what
from schemas.lookups import LookupResult
from schemas.rows import RejectedRow
from schemas.upload_events import UPLOAD_EVENT, UploadEvent
from schemas.uploads import PlanQuestion
from services.assembler.store.fences import Offsets

_MAX_INT = 2**31 - 1
_Number = Annotated[int, Field(ge=0, le=_MAX_INT)]
_UPLOAD_ID = r"^[0-9A-Za-z_.:-]{1,100}$"


class Record(Protocol):
    """A record of a log; aiokafka's `ConsumerRecord` is one. `timestamp`: milliseconds since 1970."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


class UsableRow(NamedTuple):
    """A row with a phone. `cells` is JSON; `at` the record's time in microseconds."""

    upload_id: str
    row: int
    line: int | None
    round: int
    phone: str
    cells: str
    at: int


class UnusableRow(NamedTuple):
    """A row without a phone. `cells` and `error` are JSON."""

    upload_id: str
    row: int
    line: int | None
    code: str
    cells: str
    error: str
    at: int


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
    """A record that says nothing we know. `topic` is the registry's name."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    error: str


@dataclass(slots=True)
class PartitionBatch:
    """What one transaction takes from one partition number, and where it leaves the fence."""

    partition: int
    start: Offsets
    end: Offsets
    rows: list[UsableRow] = field(default_factory=list)
    rejected: list[UnusableRow] = field(default_factory=list)
    results: list[PlacedResult] = field(default_factory=list)
    events: list[PlacedEvent] = field(default_factory=list)
    questions: list[TimedQuestion] = field(default_factory=list)
    undecodable: list[Undecodable] = field(default_factory=list)


class _RowFields(TypedDict):
    upload_id: Annotated[str, Field(pattern=_UPLOAD_ID)]
    row: Annotated[int, Field(ge=1, le=_MAX_INT)]
    phone: Annotated[str, Field(pattern=r"^\+[1-9][0-9]{3,14}$")]
    cells: list[str]


class _RowFieldsGiven(_RowFields, total=False):
    line: _Number | None
    round: _Number


_ROW = TypeAdapter(_RowFieldsGiven)
_UPLOAD_ID_TYPE: TypeAdapter[str] = TypeAdapter(Annotated[str, Field(pattern=_UPLOAD_ID)])
_NUMBERS: TypeAdapter[list[int]] = TypeAdapter(list[_Number])
T = TypeVar("T")


def decode_partition(
    partition: int, start: Offsets, records_by_topic: Iterable[tuple[str, Iterable[Record]]]
) -> PartitionBatch:
    """Everything the records say. Topics are the names of `Offsets`; records before the fence are passed over."""
    batch = PartitionBatch(partition, start, start)
    ends = start._asdict()
    for topic, records in records_by_topic:
        begin = ends[topic]
        fresh = [record for record in records if record.offset >= begin]
        if not fresh:
            continue
        _DECODE[topic](batch, fresh)
        ends[topic] = fresh[-1].offset + 1
    batch.end = Offsets(**ends)
    return batch


def _rows(batch: PartitionBatch, records: Iterable[Record]) -> None:
    validate, dump, add = _ROW.validate_json, orjson.dumps, batch.rows.append
    for record in records:
        try:
            fields = validate(record.value or b"")
        except ValidationError as error:
            _refuse(batch, topics.UPLOAD_ROWS.name, record, UndecodableRecord(where_and_what(error)))
            continue
        add(
            UsableRow(
                fields["upload_id"],
                fields["row"],
                fields.get("line"),
                fields.get("round", 0),
                fields["phone"],
                dump(fields["cells"]).decode(),
                record.timestamp * 1000,
            )
        )


def _rejected(batch: PartitionBatch, records: Iterable[Record]) -> None:
    for record in records:
        row = _attempt(batch, topics.REJECTED_ROWS.name, record, _decode_rejected)
        if row is not None:
            batch.rejected.append(row)


def _decode_rejected(record: Record) -> UnusableRow:
    row = decode(RejectedRow, record.value)
    _check(row.upload_id, row.row, row.line or 0)
    cells = orjson.dumps(row.cells).decode()
    error = row.error.model_dump_json()
    return UnusableRow(row.upload_id, row.row, row.line, row.error.code, cells, error, record.timestamp * 1000)


def _results(batch: PartitionBatch, records: Iterable[Record]) -> None:
    for record in records:
        result = _attempt(batch, topics.LOOKUP_RESULTS.name, record, _decode_result)
        if result is not None:
            batch.results.append(result)


def _decode_result(record: Record) -> PlacedResult:
    at = record.timestamp * 1000
    if record.value is None:
        phone = (record.key or b"").decode("ascii", "replace").removesuffix("|failed")
        return PlacedResult(record.offset, phone, None, at)
    result = decode(LookupResult, record.value)
    for answered in result.answers:
        _check(answered.upload_id, answered.round)
    for paid in result.calls:
        _check(paid.upload_id, paid.calls)
    _check("-", result.attempts)
    return PlacedResult(record.offset, result.phone, result, at)


def _events(batch: PartitionBatch, records: Iterable[Record]) -> None:
    for record in records:
        event = _attempt(batch, topics.UPLOAD_EVENTS.name, record, _decode_event)
        if event is not None:
            batch.events.append(event)


def _decode_event(record: Record) -> PlacedEvent:
    event: UploadEvent = decode_one_of(UPLOAD_EVENT, record.value, what="upload event")
    _check(event.upload_id)
    return PlacedEvent(record.offset, event)


def _questions(batch: PartitionBatch, records: Iterable[Record]) -> None:
    for record in records:
        question = _attempt(batch, topics.PLAN_QUESTIONS.name, record, _decode_question)
        if question is not None:
            batch.questions.append(question)


def _decode_question(record: Record) -> TimedQuestion:
    question = decode(PlanQuestion, record.value)
    _check(question.upload_id, question.batch)
    return TimedQuestion(question, record.timestamp * 1000)


def _attempt(batch: PartitionBatch, topic: str, record: Record, read: Callable[[Record], T]) -> T | None:
    try:
        return read(record)
    except UndecodableRecord as error:
        _refuse(batch, topic, record, error)
        return None


def _refuse(batch: PartitionBatch, topic: str, record: Record, error: UndecodableRecord) -> None:
    batch.undecodable.append(Undecodable(topic, batch.partition, record.offset, record.key, record.value, str(error)))


def _check(upload_id: str, *numbers: int) -> None:
    """Raises UndecodableRecord for an id or a number that a database could not store."""
    try:
        _UPLOAD_ID_TYPE.validate_python(upload_id)
        _NUMBERS.validate_python(numbers)
    except ValidationError as error:
        raise UndecodableRecord(where_and_what(error)) from None


_DECODE: dict[str, Callable[[PartitionBatch, Iterable[Record]], None]] = {
    "upload_rows": _rows,
    "rejected_rows": _rejected,
    "lookup_results": _results,
    "upload_events": _events,
    "plan_questions": _questions,
}

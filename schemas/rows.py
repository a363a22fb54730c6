"""Owns the messages that carry a file's rows, usable or rejected, and the bad records of any topic."""

from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, Protocol, cast

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from schemas.base import Message
from schemas.codec import MAX_VALUE_BYTES, decode
from schemas.parts import Role, part_key
from schemas.values import (
    MOST_COLUMNS,
    AnyMoment,
    Cells,
    Count,
    LineNumber,
    Moment,
    Offset,
    Owner,
    PartitionNumber,
    Phone,
    Priority,
    Round,
    RowNumber,
    SampleText,
    Sentence,
    Token,
    UploadId,
    Word,
    latest_in_record,
)

RowErrorCode = Literal["no_phone", "not_a_phone", "lost_digits", "cancelled", "gave_up"]
RowState = Literal["waiting", "answered", "failed", "rejected", "unprocessed"]


class RowError(Message):
    """What is wrong with a row: code, the column's header or index, the cell's value, and a sentence for people."""

    code: RowErrorCode
    column: SampleText | None = None
    value: SampleText | None = None
    detail: Sentence | None = None


class UploadRow(Message):
    """A usable row. Key: the phone. `row` counts data rows from 1; `line` is its first line in file or sheet."""

    upload_id: UploadId
    row: RowNumber
    line: LineNumber | None = None
    round: Round = 0
    phone: Phone
    cells: Cells = ()
    owner: Owner
    priority: Priority = 3
    wanted_at: Moment
    accept_since: Moment
    again: bool = False
    """Published again by the sweep or a retry: passes the worker's memory of requests already sent."""


class _RequiredRowFields(TypedDict):
    upload_id: UploadId
    row: RowNumber
    phone: Phone
    owner: Owner
    wanted_at: datetime
    accept_since: datetime


class RowFields(_RequiredRowFields, total=False):
    """The fields of an `UploadRow`, those that have a default only where they were given. Times are in UTC."""

    line: LineNumber | None
    round: Round
    cells: Annotated[list[str], Field(max_length=MOST_COLUMNS)]
    priority: Priority
    again: bool


_TimeText = Annotated[str, Field(max_length=40)]


class _FieldsAsWritten(RowFields):
    wanted_at: _TimeText  # type: ignore[misc]  # narrower than the base on purpose
    accept_since: _TimeText  # type: ignore[misc]  # narrower than the base on purpose


_AS_WRITTEN: TypeAdapter[Any] = TypeAdapter(_FieldsAsWritten)
_TIME: TypeAdapter[datetime] = TypeAdapter(AnyMoment)


@lru_cache(maxsize=4_096)
def _time(text: str) -> datetime:
    """The rows of an upload share their times, so each is read once. Raises ValidationError."""
    return _TIME.validate_python(text)


def decode_row(value: bytes | None, *, timestamp_ms: int) -> RowFields:
    """What `decode(UploadRow, …)` says, at a fraction of its cost: rows are the bulk of all records.

    Takes exactly the values that `UploadRow` takes.

    Raises:
        UndecodableRecord: the value is not a row.
    """
    if value is None or len(value) > MAX_VALUE_BYTES:
        return _decode_slowly(value, timestamp_ms)
    try:
        fields: RowFields = _AS_WRITTEN.validate_json(value)
        wanted_at, accept_since = _time(cast(str, fields["wanted_at"])), _time(cast(str, fields["accept_since"]))
    except ValidationError:
        # A time may also be written as a number; and whatever is wrong is said in the message's own words.
        return _decode_slowly(value, timestamp_ms)
    latest = latest_in_record(timestamp_ms)
    if wanted_at > latest or accept_since > latest:
        return _decode_slowly(value, timestamp_ms)
    fields["wanted_at"], fields["accept_since"] = wanted_at, accept_since
    return fields


def _decode_slowly(value: bytes | None, timestamp_ms: int) -> RowFields:
    row = decode(UploadRow, value, timestamp_ms=timestamp_ms)
    return cast(RowFields, row.model_dump(exclude_unset=True) | {"cells": list(row.cells)})


class RejectedRow(Message):
    """A row without a usable phone, or one left over when its upload was cancelled. Key: the upload id."""

    upload_id: UploadId
    row: RowNumber
    line: LineNumber | None = None
    cells: Cells = ()
    error: RowError


BadReason = Literal["undecodable", "failed", "too_large"]
"""Why a record was put aside.

undecodable  its bytes are not the message that its topic promises
failed       the work on it failed for a reason that is neither Kafka's nor the database's
too_large    Kafka refused, for its size, what had to be written because of it
"""
KEPT_BYTES: Final = 16 * 1024
"""Most bytes of a key and of a value that are kept of a record put aside. The record itself stays on its topic."""
_LONGEST_ERROR: Final = 500


class BadRecord(Message):
    """A record that was put aside, with where it came from, why, and its first bytes.

    `bytes` is the size of its value. Older records say neither `role`, `reason` nor `bytes`. With `retried_at` it says
    that the record was published again then, and is no longer put aside.
    """

    topic: Word
    partition: PartitionNumber
    offset: Offset
    error: Sentence
    key: bytes | None
    value: bytes | None
    seen_by: Token
    at: Moment
    role: Role | None = None
    reason: BadReason = "undecodable"
    bytes_: Count | None = Field(default=None, alias="bytes")
    retried_at: Moment | None = None


class PlacedRecord(Protocol):
    """A record of a log; aiokafka's `ConsumerRecord` is one."""

    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


def bad_record_of(
    record: PlacedRecord, *, topic: str, role: Role, instance: str, reason: BadReason, error: str, at: datetime
) -> BadRecord:
    """What is put aside of a record, small enough to be written whatever the record is.

    `topic` is its name on the cluster. `error` repeats nothing of the record.
    """
    return BadRecord(
        topic=topic,
        partition=record.partition,
        offset=record.offset,
        error=error[:_LONGEST_ERROR],
        key=None if record.key is None else record.key[:KEPT_BYTES],
        value=None if record.value is None else record.value[:KEPT_BYTES],
        seen_by=part_key(role, instance),
        at=at,
        role=role,
        reason=reason,
        bytes=len(record.value or b""),
    )


def retried_record_of(record: PlacedRecord, *, topic: str, instance: str, at: datetime) -> BadRecord:
    """What says that a record was published again at that time, and is no longer put aside. It holds no content.

    `topic` is its name on the cluster, `instance` that of the status process that published it.
    """
    return BadRecord(
        topic=topic,
        partition=record.partition,
        offset=record.offset,
        error="",
        key=None,
        value=None,
        seen_by=part_key("status", instance),
        at=at,
        role="status",
        retried_at=at,
    )

"""Messages that carry a file's rows: usable ones, rejected ones, and records that could not be read."""

from typing import Literal

from pydantic import Field

from schemas.base import Message, Moment

RowErrorCode = Literal["no_phone", "not_a_phone", "lost_digits", "cancelled", "gave_up"]
RowState = Literal["waiting", "answered", "failed", "rejected", "unprocessed"]


class RowError(Message):
    """What is wrong with a row: code, the column's header or index, the cell's value, and a sentence for people."""

    code: RowErrorCode
    column: str | None = None
    value: str | None = None
    detail: str | None = None


class UploadRow(Message):
    """A usable row. Key: the phone. `row` counts data rows from 1; `line` is its first line in file or sheet."""

    upload_id: str
    row: int = Field(ge=1)
    line: int | None = None
    round: int = Field(default=0, ge=0)
    phone: str = Field(pattern=r"^\+[1-9][0-9]{3,14}$")
    cells: tuple[str, ...] = ()
    owner: str
    priority: int = Field(default=3, ge=1, le=5)
    wanted_at: Moment
    accept_since: Moment
    again: bool = False
    """Published again by the sweep or a retry: passes the worker's memory of requests already sent."""


class RejectedRow(Message):
    """A row without a usable phone, or one left over when its upload was cancelled. Key: the upload id."""

    upload_id: str
    row: int = Field(ge=1)
    line: int | None = None
    cells: tuple[str, ...] = ()
    error: RowError


class BadRecord(Message):
    """A record that could not be decoded, kept for operators with where it came from."""

    topic: str
    partition: int
    offset: int
    error: str
    key: bytes | None
    value: bytes | None
    seen_by: str
    at: Moment

"""The JSON endpoints for bad records: the list by filter, and publishing them again."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator
from starlette.responses import Response

from schemas.base import Message
from schemas.parts import Role
from schemas.rows import BadReason
from schemas.values import Moment
from services.assembler.domain.stored_numbers import from_micros, to_micros
from services.assembler.status.api.endpoints import ApiRequest, Endpoint, json_answer
from services.assembler.status.backend import Backend
from services.assembler.status.bad_record_list import BadRecordFilter, ListedBadRecord, NotePosition
from services.assembler.status.inputs import Nothing
from services.assembler.status.operations import bad_records as operations
from services.assembler.status.operations.bad_records import FILTERS, BadRecordsInput, RetriedBadRecords
from services.assembler.status.operations.cursors import BadRecordsCursor, cursor_numbers, encode_cursor


class BadRecordsQuery(BadRecordsInput):
    cursor: BadRecordsCursor | None = None
    limit: Annotated[int, Field(ge=1, le=1000, description="Most records on a page")] = 100


def _one_is_needed(schema: dict[str, Any]) -> None:
    schema["anyOf"] = [{"required": [name], "properties": {name: {"not": {"type": "null"}}}} for name in FILTERS]


class RetryBadRecordsBody(BadRecordsInput):
    """Which records; at least one filter is needed."""

    model_config = ConfigDict(json_schema_extra=_one_is_needed)

    dry_run: bool = Field(False, description="Only say how many")

    @model_validator(mode="after")
    def _has_a_filter(self) -> "RetryBadRecordsBody":
        if self.wanted() == BadRecordFilter():
            raise ValueError(f"give at least one of {', '.join(FILTERS)}")
        return self


class BadRecordItem(Message):
    """A record that was put aside. Its key and value are not shown, as they may hold phones."""

    topic: str
    partition: int
    offset: int
    role: Role | None
    reason: BadReason
    error: str
    at: Moment
    bytes: int | None


class BadRecordPage(Message):
    """Newest first. `older`: notes further back in the log that no page lists."""

    items: tuple[BadRecordItem, ...]
    next: str | None
    older: int


def bad_records_page(backend: Backend, query: BadRecordsQuery) -> BadRecordPage:
    after = None
    if query.cursor is not None:
        micros, partition, offset = cursor_numbers(query.cursor)
        after = (from_micros(micros), NotePosition(partition, offset))
    found = backend.bad_records.listed.newest_first(query.wanted(), after=after, limit=query.limit + 1)
    shown = found[: query.limit]
    following = None
    if len(found) > len(shown):
        last = shown[-1]
        following = encode_cursor(to_micros(last.at), last.note.partition, last.note.offset)
    return BadRecordPage(items=tuple(map(_item, shown)), next=following, older=backend.bad_records.older)


def _item(one: ListedBadRecord) -> BadRecordItem:
    return BadRecordItem(
        topic=one.position.topic,
        partition=one.position.partition,
        offset=one.position.offset,
        role=one.role,
        reason=one.reason,
        error=one.error,
        at=one.at,
        bytes=one.bytes,
    )


async def list_bad_records(request: ApiRequest[BadRecordsQuery, Nothing]) -> Response:
    return json_answer(bad_records_page(request.backend, request.query))


async def retry(request: ApiRequest[Nothing, RetryBadRecordsBody]) -> Response:
    done = await operations.retry(
        request.backend, request.identity, request.body.wanted(), dry_run=request.body.dry_run
    )
    return json_answer(done, 202)


ENDPOINTS = (
    Endpoint(
        "GET",
        "/v1/bad-records",
        list_bad_records,
        "Records that were put aside, newest first",
        {200: ("A page of records", BadRecordPage)},
        query=BadRecordsQuery,
        admin=True,
    ),
    Endpoint(
        "POST",
        "/v1/bad-records/retry",
        retry,
        "Publish them again where they were, by filter",
        {202: ("What it did, or would do", RetriedBadRecords)},
        body=RetryBadRecordsBody,
        admin=True,
    ),
)

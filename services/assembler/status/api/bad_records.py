"""The JSON calls for records that were put aside: the list by filter, and publishing them again."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from aiokafka.errors import KafkaError
from pydantic import ConfigDict, Field, model_validator
from starlette.responses import Response

from schemas.base import Message
from schemas.parts import Role
from schemas.rows import BadReason
from schemas.upload_events import OperatorActed
from schemas.values import Moment, Offset, PartitionNumber
from services.assembler.domain.stored_numbers import from_micros, to_micros
from services.assembler.status.api.calls import Ask, Call, json_answer
from services.assembler.status.api.cursors import BadRecordsCursor, cursor_numbers, encode_cursor
from services.assembler.status.backend import Backend, log_not_available
from services.assembler.status.bad_record_list import Note, PutAside, Wanted
from services.assembler.status.bad_record_log import TOPICS, Outcome, publish_again
from services.assembler.status.inputs import Input, Nothing
from services.runtime.identity import Identity

TopicName = Annotated[str, Field(json_schema_extra={"enum": sorted(TOPICS)}, pattern=f"^(?:{'|'.join(TOPICS)})$")]
_FILTERS: Final = ("topic", "partition", "offset", "role", "reason")


class BadRecordsFilter(Input):
    topic: TopicName | None = Field(None, description="Only records of this topic")
    partition: PartitionNumber | None = Field(None, description="Only of this partition")
    offset: Offset | None = Field(None, description="Only the one at this offset")
    role: Role | None = Field(None, description="Only those that this role put aside")
    reason: BadReason | None = Field(None, description="Only those put aside for this reason")

    def wanted(self) -> Wanted:
        return Wanted(self.topic, self.partition, self.offset, self.role, self.reason)


class BadRecordsQuery(BadRecordsFilter):
    cursor: BadRecordsCursor | None = None
    limit: Annotated[int, Field(ge=1, le=1000, description="Most records on a page")] = 100


def _one_is_needed(schema: dict[str, Any]) -> None:
    schema["anyOf"] = [{"required": [name], "properties": {name: {"not": {"type": "null"}}}} for name in _FILTERS]


class RetryBadRecordsBody(BadRecordsFilter):
    """Which records; at least one filter is needed."""

    model_config = ConfigDict(json_schema_extra=_one_is_needed)

    dry_run: bool = Field(False, description="Only say how many")

    @model_validator(mode="after")
    def _has_a_filter(self) -> "RetryBadRecordsBody":
        if self.wanted() == Wanted():
            raise ValueError(f"give at least one of {', '.join(_FILTERS)}")
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


class RetriedBadRecords(Message):
    """`gone`: no longer on their topic; `not_possible`: too large to be published; `left`: for the next request."""

    dry_run: bool
    matched: int
    retried: int
    gone: int
    not_possible: int
    left: int


def bad_records_page(backend: Backend, query: BadRecordsQuery) -> BadRecordPage:
    after = None
    if query.cursor is not None:
        micros, partition, offset = cursor_numbers(query.cursor)
        after = (from_micros(micros), Note(partition, offset))
    found = backend.bad_records.listed.newest_first(query.wanted(), after=after, limit=query.limit + 1)
    shown = found[: query.limit]
    following = None
    if len(found) > len(shown):
        last = shown[-1]
        following = encode_cursor(to_micros(last.at), last.note.partition, last.note.offset)
    return BadRecordPage(items=tuple(map(_item, shown)), next=following, older=backend.bad_records.older)


def _item(one: PutAside) -> BadRecordItem:
    return BadRecordItem(
        topic=one.place.topic,
        partition=one.place.partition,
        offset=one.place.offset,
        role=one.role,
        reason=one.reason,
        error=one.error,
        at=one.at,
        bytes=one.bytes,
    )


async def list_bad_records(ask: Ask[BadRecordsQuery, Nothing]) -> Response:
    return json_answer(bad_records_page(ask.backend, ask.query))


async def retry_now(
    backend: Backend, identity: Identity, wanted: Wanted, *, dry_run: bool = False
) -> RetriedBadRecords:
    """Publishes what the filter covers again, each record once, whatever the number of roles that put it aside.

    Raises:
        ProblemError: 503 when Kafka does not answer; what was done until then is off the list.
    """
    places = {one.place for one in backend.bad_records.listed.newest_first(wanted)}
    outcome = Outcome()
    if places and not dry_run:
        acted = OperatorActed(at=datetime.now(UTC), by=identity.owner, action="retry_bad_records", records=len(places))
        await backend.publish_event(acted)
        try:
            outcome = await publish_again(backend.settings, backend.producer, places)
        except (KafkaError, LookupError, TimeoutError):
            raise log_not_available() from None
    return RetriedBadRecords(
        dry_run=dry_run,
        matched=len(places),
        retried=outcome.retried,
        gone=outcome.gone,
        not_possible=outcome.not_possible,
        left=outcome.left,
    )


async def retry(ask: Ask[Nothing, RetryBadRecordsBody]) -> Response:
    done = await retry_now(ask.backend, ask.identity, ask.body.wanted(), dry_run=ask.body.dry_run)
    return json_answer(done, 202)


CALLS = (
    Call(
        "GET",
        "/v1/bad-records",
        list_bad_records,
        "Records that were put aside, newest first",
        {200: ("A page of records", BadRecordPage)},
        query=BadRecordsQuery,
        admin=True,
    ),
    Call(
        "POST",
        "/v1/bad-records/retry",
        retry,
        "Publish them again where they were, by filter",
        {202: ("What it did, or would do", RetriedBadRecords)},
        body=RetryBadRecordsBody,
        admin=True,
    ),
)

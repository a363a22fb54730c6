"""The JSON calls for dead letters: the list by filter, looking them up again, taking them off the list."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated

from pydantic import AwareDatetime, BeforeValidator, Field, TypeAdapter, ValidationError, WithJsonSchema
from starlette.responses import Response

from schemas.base import Message
from schemas.interface import Page
from schemas.lookups import AttemptError
from schemas.upload_events import DismissFailed, Failures, UploadEvent
from schemas.values import AnyMoment, Moment, Owner, Token, UploadId
from services.assembler.domain import commands
from services.assembler.domain.commands import CommandRefused
from services.assembler.domain.stored import DeadLetterFilter, DeadLetterGroup
from services.assembler.domain.views import parsed
from services.assembler.status.api.calls import Ask, Call, json_answer
from services.assembler.status.api.cursors import DeadLettersCursor, cursor_numbers, encode_cursor
from services.assembler.status.backend import Backend, is_upload_id
from services.assembler.status.commanding import target_of
from services.assembler.status.inputs import Input, Nothing
from services.assembler.store import dead_letters, reads
from services.runtime.identity import Identity

_TIME: TypeAdapter[datetime] = TypeAdapter(AwareDatetime)


def _written_out(value: object) -> object:
    """The time in a text. A bare number is refused: it would be taken for seconds since 1970."""
    if isinstance(value, str) and "T" in value.upper():
        with suppress(ValidationError):
            return _TIME.validate_python(value)
    raise ValueError("should be a time in RFC 3339, as 2026-01-05T12:00:00Z")


_DATE = (
    "(?:19[7-9][0-9]|20[0-9]{2}|21[0-9]{2})-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    "|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
)
_TIME_OF_DAY = "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,6})?"
_WRITTEN_OUT = {"type": "string", "pattern": f"^{_DATE}T{_TIME_OF_DAY}Z$", "examples": ["2026-01-05T12:00:00Z"]}
"""The bounds of a time for a schema, which knows no years. Other offsets, and leap days, are taken too."""
Time = Annotated[AnyMoment, BeforeValidator(_written_out), WithJsonSchema(_WRITTEN_OUT)]


class DeadLettersFilter(Input):
    upload_id: UploadId | None = Field(None, description="Only of this upload")
    owner: Owner | None = Field(None, description="Only of this owner's uploads")
    error_code: Token | None = Field(None, description="Only those given up for this reason")
    before: Time | None = Field(None, description="Only those given up before this time")
    after: Time | None = Field(None, description="Only those given up at this time or later")

    def resolved(self, identity: Identity) -> DeadLetterFilter:
        owner = self.owner if identity.admin else identity.owner
        return DeadLetterFilter(owner, self.upload_id, self.error_code, self.before, self.after)

    def failures(self) -> Failures | None:
        """Which failures of an upload are meant; None: all."""
        only = Failures(error_code=self.error_code, after=self.after, before=self.before)
        return None if only == Failures() else only


class DeadLettersQuery(DeadLettersFilter):
    cursor: DeadLettersCursor | None = None
    limit: Annotated[int, Field(ge=1, le=1000, description="Most entries on a page")] = 100


class RedriveBody(DeadLettersFilter):
    dry_run: bool = Field(False, description="Only say what it would mean")
    force: bool = Field(False, description="Also uploads that had the usual number of rounds")


class DismissQuery(DeadLettersFilter):
    dry_run: bool = Field(False, description="Only say what would go")


class DeadLetterItem(Message):
    """A row whose phone was given up."""

    upload_id: str
    owner: str
    row: int
    phone: str
    attempts: int
    given_up_at: Moment
    error: AttemptError | None


class NotRedriven(Message):
    upload_id: str
    detail: str


class Redriven(Message):
    """What a redrive did, or would do: the rows, the calls they cost, and why they had been given up."""

    dry_run: bool
    uploads: int
    rows: int
    calls: int
    reasons: dict[str, int]
    refused: tuple[NotRedriven, ...]


class Dismissed(Message):
    """What was, or would be, taken off the list; the rows stay failed in their uploads."""

    dry_run: bool
    uploads: int
    rows: int
    reasons: dict[str, int]


async def list_dead_letters(ask: Ask[DeadLettersQuery, Nothing]) -> Response:
    after: tuple[int, int] | None = None
    if ask.query.cursor is not None:
        no, row = cursor_numbers(ask.query.cursor)
        after = (no, row)
    wanted = ask.query.resolved(ask.identity)
    found = await ask.backend.read(
        lambda connection: dead_letters.list_dead_letters(connection, wanted, after=after, limit=ask.query.limit + 1)
    )
    shown = found[: ask.query.limit]
    items = tuple(
        DeadLetterItem(
            upload_id=one.upload_id,
            owner=one.owner,
            row=one.row,
            phone=one.phone,
            attempts=one.attempts,
            given_up_at=one.failed_at,
            error=parsed(AttemptError, one.error),
        )
        for one in shown
    )
    following = encode_cursor(shown[-1].upload_no, shown[-1].row) if len(found) > len(shown) else None
    return json_answer(Page[DeadLetterItem](items=items, next=following))


async def redrive(ask: Ask[Nothing, RedriveBody]) -> Response:
    return json_answer(await redrive_now(ask.backend, ask.identity, ask.body), 202)


async def redrive_now(backend: Backend, identity: Identity, wanted: RedriveBody) -> Redriven:
    """Asks again for the phones that the filter covers, and for no others, through the same queue and limit."""
    where = wanted.resolved(identity)
    groups = await backend.read(partial(dead_letters.group_dead_letters, wanted=where))
    events: dict[str, UploadEvent] = {}
    refused: list[NotRedriven] = []
    for upload_id in dict.fromkeys(group.upload_id for group in groups):
        event = await _retry(backend, identity, upload_id, wanted)
        if isinstance(event, str):
            refused.append(NotRedriven(upload_id=upload_id, detail=event))
        else:
            events[upload_id] = event
    calls = await backend.read(partial(dead_letters.count_phones, wanted=where, upload_ids=events.keys()))
    for event in () if wanted.dry_run else events.values():
        await backend.publish_event(event)
    counted = [group for group in groups if group.upload_id in events]
    return Redriven(
        dry_run=wanted.dry_run,
        uploads=len(events),
        rows=sum(group.rows for group in counted),
        calls=calls,
        reasons=_reasons((group.error_code, group.phones) for group in counted),
        refused=tuple(refused),
    )


async def _retry(backend: Backend, identity: Identity, upload_id: str, wanted: RedriveBody) -> UploadEvent | str:
    """The upload's `RetryFailed` for what the filter covers and is on the list; or why not."""
    record = await backend.read(lambda connection: reads.upload(connection, upload_id))
    if record is None or not is_upload_id(upload_id):
        return "The upload has been deleted."
    decision = commands.retry_failed(
        target_of(record),
        by=identity.owner,
        now=datetime.now(UTC),
        force=wanted.force,
        only=wanted.failures(),
        but_not=await backend.read(lambda connection: dead_letters.dismissed(connection, upload_id)),
    )
    if isinstance(decision, CommandRefused):
        return decision.detail
    return decision.events[0] if decision.events else "Failed rows of it are being looked up again already."


def _reasons(counts: Iterable[tuple[str, int]]) -> dict[str, int]:
    reasons: dict[str, int] = {}
    for code, count in counts:
        reasons[code] = reasons.get(code, 0) + count
    return reasons


async def dismiss(ask: Ask[DismissQuery, Nothing]) -> Response:
    return json_answer(await dismiss_now(ask.backend, ask.identity, ask.query), 202)


async def dismiss_now(backend: Backend, identity: Identity, wanted: DismissQuery) -> Dismissed:
    """Takes what the filter covers off the list; a phone that fails again later is on it again."""
    where = wanted.resolved(identity)
    groups = await backend.read(partial(dead_letters.group_dead_letters, wanted=where))
    for upload_id in () if wanted.dry_run else dict.fromkeys(filter(is_upload_id, (one.upload_id for one in groups))):
        only = _until_newest(wanted, [group for group in groups if group.upload_id == upload_id])
        event = DismissFailed(upload_id=upload_id, at=datetime.now(UTC), by=identity.owner, only=only)
        await backend.publish_event(event)
    return Dismissed(
        dry_run=wanted.dry_run,
        uploads=len({group.upload_id for group in groups}),
        rows=sum(group.rows for group in groups),
        reasons=_reasons((group.error_code, group.rows) for group in groups),
    )


def _until_newest(wanted: DismissQuery, groups: Iterable[DeadLetterGroup]) -> Failures:
    """What was seen, by the times of the failures themselves: the clock here may be another than the gate's."""
    until = max(group.newest for group in groups) + timedelta(microseconds=1)
    return Failures(error_code=wanted.error_code, after=wanted.after, before=until)


CALLS = (
    Call(
        "GET",
        "/v1/dead-letters",
        list_dead_letters,
        "Rows whose phones were given up",
        {200: ("A page of dead letters", Page[DeadLetterItem])},
        query=DeadLettersQuery,
    ),
    Call(
        "DELETE",
        "/v1/dead-letters",
        dismiss,
        "Take them off the list, by filter; the rows stay failed",
        {202: ("What went, or would go", Dismissed)},
        query=DismissQuery,
        admin=True,
    ),
    Call(
        "POST",
        "/v1/dead-letters/redrive",
        redrive,
        "Look them up again, by filter",
        {202: ("What it did, or would do", Redriven)},
        body=RedriveBody,
        admin=True,
    ),
)

"""The JSON calls for operators: the queue and its commands, dead letters, forgetting a phone, the audit list."""

import asyncio
import json
import time
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import phonenumbers
from pydantic import BeforeValidator, Field, JsonValue
from starlette.responses import Response

from schemas import topics
from schemas.base import Message, Moment
from schemas.codec import encode
from schemas.interface import Page, Queue, Sweep
from schemas.lookups import AttemptError, LookupCommand
from schemas.uploads import DismissFailed
from services.assembler import commands
from services.assembler.commands import Refused
from services.assembler.store import dead_letters, reads, sweeps
from services.assembler.store.dialect import for_writing
from services.assembler.store.records import DeadLetterFilter
from services.assembler.store.tables import to_micros
from services.assembler.web.backend import Backend
from services.assembler.web.calls import Ask, Call, Input, Nothing, json_answer
from services.assembler.web.commanding import target_of
from services.assembler.web.cursors import decode_cursor, encode_cursor, whole_number
from services.assembler.web.queue_view import queue_of
from services.runtime.identity import Identity
from services.runtime.problems import ProblemError

SWEEP_SECONDS: Final = 60.0
PAUSE_VISIBLE_SECONDS: Final = 2.0


async def get_queue(ask: Ask[Nothing, Nothing]) -> Response:
    return json_answer(await queue_of(ask.backend, ask.identity))


async def set_paused(backend: Backend, identity: Identity, *, paused: bool) -> Queue:
    """Asks the gate to make no calls at all, or to go on; returns the queue as the gate then reports it."""
    command = LookupCommand(paused=paused, by=identity.owner, at=datetime.now(UTC))
    await backend.publish(topics.LOOKUP_COMMANDS, "lookups", encode(command))
    deadline = time.monotonic() + PAUSE_VISIBLE_SECONDS
    queue = await queue_of(backend, identity)
    while (queue.state == "paused") != paused and queue.state != "no_gate" and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
        queue = await queue_of(backend, identity)
    return queue


async def pause_all(ask: Ask[Nothing, Nothing]) -> Response:
    return json_answer(await set_paused(ask.backend, ask.identity, paused=True), 202)


async def resume_all(ask: Ask[Nothing, Nothing]) -> Response:
    return json_answer(await set_paused(ask.backend, ask.identity, paused=False), 202)


async def sweep_now(backend: Backend, identity: Identity) -> Sweep:
    """Has the join look for rows that nobody works on and publish them again; returns what it did.

    Raises:
        ProblemError: 503 when it could not be done, or not in time.
    """

    def ask_for_it() -> str:
        with for_writing(backend.engine).begin() as connection:
            return sweeps.request_sweep(connection, by=identity.owner, now=datetime.now(UTC))

    sweep_id = await asyncio.to_thread(ask_for_it)
    deadline = time.monotonic() + SWEEP_SECONDS
    while time.monotonic() < deadline:
        found = await backend.read(lambda connection: sweeps.get_sweep(connection, sweep_id))
        if found is not None and found.problem is not None:
            raise _no_sweep(found.problem)
        if found is not None and found.finished_at is not None:
            return Sweep(
                examined=found.examined or 0,
                republished=found.republished or 0,
                completed=found.completed or 0,
                failed=found.failed or 0,
            )
        await asyncio.sleep(0.2)
    raise _no_sweep("The join has not done it within a minute; it sweeps by itself as soon as it can.")


def _no_sweep(detail: str) -> ProblemError:
    return ProblemError(503, "no-sweep", "The sweep could not be done", detail, headers={"Retry-After": "30"})


async def sweep(ask: Ask[Nothing, Nothing]) -> Response:
    return json_answer(await sweep_now(ask.backend, ask.identity), 202)


def _written_out(value: object) -> object:
    """Refuses a bare number, which would be taken for seconds since 1970."""
    if isinstance(value, str) and "T" not in value.upper():
        raise ValueError("should be a time in RFC 3339, as 2026-01-05T12:00:00Z")
    return value


Time = Annotated[Moment, BeforeValidator(_written_out)]


class DeadLettersFilter(Input):
    upload_id: str | None = Field(None, description="Only of this upload")
    owner: str | None = Field(None, description="Only of this owner's uploads")
    error_code: str | None = Field(None, description="Only those given up for this reason")
    before: Time | None = Field(None, description="Only those given up before this time")
    after: Time | None = Field(None, description="Only those given up at this time or later")

    def resolved(self, identity: Identity) -> DeadLetterFilter:
        owner = self.owner if identity.admin else identity.owner
        return DeadLetterFilter(owner, self.upload_id, self.error_code, self.before, self.after)


class DeadLettersQuery(DeadLettersFilter):
    cursor: str | None = Field(None, description="`next` of the page before")
    limit: Annotated[int, Field(ge=1, le=1000, description="Most entries on a page")] = 100


class RedriveBody(DeadLettersFilter):
    dry_run: bool = Field(False, description="Only say what it would mean")
    force: bool = Field(False, description="Also uploads that had the usual number of rounds")


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


async def list_dead_letters(ask: Ask[DeadLettersQuery, Nothing]) -> Response:
    after: tuple[int, int] | None = None
    if ask.query.cursor is not None:
        no, row = decode_cursor(ask.query.cursor, 2)
        after = (whole_number(no), whole_number(row))
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
            error=None if one.error is None else AttemptError.model_validate_json(one.error),
        )
        for one in shown
    )
    following = encode_cursor(shown[-1].upload_no, shown[-1].row) if len(found) > len(shown) else None
    return json_answer(Page[DeadLetterItem](items=items, next=following))


async def redrive(ask: Ask[Nothing, RedriveBody]) -> Response:
    return json_answer(await redrive_now(ask.backend, ask.identity, ask.body), 202)


async def redrive_now(backend: Backend, identity: Identity, wanted: RedriveBody) -> Redriven:
    """Asks again for the failed rows of every upload that the filter touches, through the same queue and limit."""
    where = wanted.resolved(identity)
    groups = await backend.read(lambda connection: dead_letters.group_dead_letters(connection, where))
    reasons: dict[str, int] = {}
    refused: list[NotRedriven] = []
    uploads: set[str] = set()
    for upload_id in dict.fromkeys(group.upload_id for group in groups):
        detail = await _retry(backend, identity, upload_id, wanted)
        if detail is None:
            uploads.add(upload_id)
        else:
            refused.append(NotRedriven(upload_id=upload_id, detail=detail))
    counted = [group for group in groups if group.upload_id in uploads]
    for group in counted:
        reasons[group.error_code] = reasons.get(group.error_code, 0) + group.phones
    return Redriven(
        dry_run=wanted.dry_run,
        uploads=len(uploads),
        rows=sum(group.rows for group in counted),
        calls=sum(group.phones for group in counted),
        reasons=reasons,
        refused=tuple(refused),
    )


class DismissQuery(DeadLettersFilter):
    dry_run: bool = Field(False, description="Only say what would go")


class Dismissed(Message):
    """What was, or would be, taken off the list; the rows stay failed in their uploads."""

    dry_run: bool
    uploads: int
    rows: int
    reasons: dict[str, int]


async def dismiss(ask: Ask[DismissQuery, Nothing]) -> Response:
    return json_answer(await dismiss_now(ask.backend, ask.identity, ask.query), 202)


async def dismiss_now(backend: Backend, identity: Identity, wanted: DismissQuery) -> Dismissed:
    """Takes the failed rows of every upload that the filter touches off the list, until they fail again."""
    where = wanted.resolved(identity)
    groups = await backend.read(lambda connection: dead_letters.group_dead_letters(connection, where))
    rounds = {group.upload_id: group.upload_round for group in groups}
    reasons: dict[str, int] = {}
    for group in groups:
        reasons[group.error_code] = reasons.get(group.error_code, 0) + group.rows
    for upload_id, round_ in {} if wanted.dry_run else rounds.items():
        await backend.publish_event(
            DismissFailed(upload_id=upload_id, at=datetime.now(UTC), by=identity.owner, round=round_)
        )
    return Dismissed(
        dry_run=wanted.dry_run, uploads=len(rounds), rows=sum(group.rows for group in groups), reasons=reasons
    )


async def _retry(backend: Backend, identity: Identity, upload_id: str, wanted: RedriveBody) -> str | None:
    """Writes the upload's `RetryFailed` unless only asked; returns why not, if not."""
    record = await backend.read(lambda connection: reads.upload(connection, upload_id))
    if record is None:
        return "The upload has been deleted."
    decision = commands.retry_failed(target_of(record), by=identity.owner, now=datetime.now(UTC), force=wanted.force)
    if isinstance(decision, Refused):
        return decision.detail
    for event in () if wanted.dry_run else decision.events:
        await backend.publish_event(event)
    return None


class ForgetBody(Input):
    phone: str = Field(description="The number, in E.164 or as written in the service's region")


class Forgotten(Message):
    phone_masked: str


async def forget(ask: Ask[Nothing, ForgetBody]) -> Response:
    """Null records for the phone's result and its failure, both on the phone's partition, erase it everywhere."""
    try:
        parsed = phonenumbers.parse(ask.body.phone, ask.backend.settings.region)
    except phonenumbers.NumberParseException:
        raise ProblemError(
            400, "not-a-phone", "This is not a phone number", "Send it in E.164: a plus, the country code, the number."
        ) from None
    phone = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    partition = await ask.backend.partition_of(topics.LOOKUP_RESULTS, phone)
    for key in (phone, f"{phone}|failed"):
        await ask.backend.publish(topics.LOOKUP_RESULTS, key, None, partition=partition)
    return json_answer(Forgotten(phone_masked=masked(phone)), 202)


def masked(phone: str) -> str:
    """A phone of which only the country's side and the last two digits can be read: `+1415*****00`."""
    return phone[:5] + "*" * max(0, len(phone) - 7) + phone[-2:]


class AuditQuery(Input):
    upload_id: str | None = Field(None, description="Only what was done to this upload")
    by: str | None = Field(None, description="Only what this owner did")
    cursor: str | None = Field(None, description="`next` of the page before")
    limit: Annotated[int, Field(ge=1, le=1000, description="Most entries on a page")] = 100


class AuditItem(Message):
    """Who did what to which upload."""

    at: Moment
    by: str
    action: str
    upload_id: str
    detail: dict[str, JsonValue]


async def audit_page(backend: Backend, query: AuditQuery) -> tuple[list[AuditItem], str | None]:
    after: tuple[int, int] | None = None
    if query.cursor is not None:
        micros, last_id = decode_cursor(query.cursor, 2)
        after = (whole_number(micros), whole_number(last_id))
    found = await backend.read(
        lambda connection: reads.list_audit(
            connection, upload_id=query.upload_id, by=query.by, after=after, limit=query.limit + 1
        )
    )
    shown = found[: query.limit]
    items = [
        AuditItem(at=one.at, by=one.by, action=one.action, upload_id=one.upload_id, detail=_object(one.detail))
        for one in shown
    ]
    following = encode_cursor(to_micros(shown[-1].at), shown[-1].id) if len(found) > len(shown) else None
    return items, following


def _object(text: str) -> dict[str, Any]:
    found = json.loads(text)
    return found if isinstance(found, dict) else {}


async def list_audit(ask: Ask[AuditQuery, Nothing]) -> Response:
    items, following = await audit_page(ask.backend, ask.query)
    return json_answer(Page[AuditItem](items=tuple(items), next=following))


CALLS = (
    Call("GET", "/v1/queue", get_queue, "The queue, the limit and the parts", {200: ("The queue", Queue)}),
    Call(
        "POST",
        "/v1/queue/pause",
        pause_all,
        "Make no calls at all",
        {202: ("The queue", Queue)},
        admin=True,
        problems=(400, 403, 503),
    ),
    Call(
        "POST",
        "/v1/queue/resume",
        resume_all,
        "Go on making calls",
        {202: ("The queue", Queue)},
        admin=True,
        problems=(400, 403, 503),
    ),
    Call(
        "POST",
        "/v1/queue/sweep",
        sweep,
        "Find rows that nobody works on and publish them again",
        {202: ("What it did", Sweep)},
        admin=True,
        problems=(400, 403, 503),
    ),
    Call(
        "GET",
        "/v1/dead-letters",
        list_dead_letters,
        "Rows whose phones were given up",
        {200: ("A page of dead letters", Page[DeadLetterItem])},
        query=DeadLettersQuery,
        problems=(400,),
    ),
    Call(
        "DELETE",
        "/v1/dead-letters",
        dismiss,
        "Take them off the list, by filter; the rows stay failed",
        {202: ("What went, or would go", Dismissed)},
        query=DismissQuery,
        admin=True,
        problems=(400, 403, 503),
    ),
    Call(
        "POST",
        "/v1/dead-letters/redrive",
        redrive,
        "Look them up again, by filter",
        {202: ("What it did, or would do", Redriven)},
        body=RedriveBody,
        admin=True,
        problems=(400, 403, 503),
    ),
    Call(
        "POST",
        "/v1/phones/forget",
        forget,
        "Erase one number everywhere",
        {202: ("Accepted", Forgotten)},
        body=ForgetBody,
        admin=True,
        problems=(400, 403, 503),
    ),
    Call(
        "GET",
        "/v1/audit",
        list_audit,
        "Who did what",
        {200: ("A page of entries, newest first", Page[AuditItem])},
        query=AuditQuery,
        admin=True,
        problems=(400, 403),
    ),
)

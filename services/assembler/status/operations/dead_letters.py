"""Redrives and dismisses dead letters by filter: rows whose phones were given up."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated

from pydantic import AwareDatetime, BeforeValidator, Field, TypeAdapter, ValidationError, WithJsonSchema

from schemas.base import Message
from schemas.upload_events import DismissFailed, Failures, UploadEvent
from schemas.values import AnyMoment, Owner, Token, UploadId
from services.assembler.domain import commands
from services.assembler.domain.commands import CommandRefused
from services.assembler.domain.stored import DeadLetterFilter, DeadLetterGroup
from services.assembler.status.backend import Backend
from services.assembler.status.inputs import Input
from services.assembler.status.operations.command_execution import target_of
from services.assembler.status.upload_finder import is_upload_id
from services.assembler.store import dead_letters, reads
from services.runtime.identity import Identity

_TIME: TypeAdapter[datetime] = TypeAdapter(AwareDatetime)


def _written_out(value: object) -> object:
    """The time in a text. A bare number is refused: pydantic would read it as seconds since 1970."""
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
"""A pattern for the OpenAPI document. Other offsets, and leap days, are accepted too."""
Time = Annotated[AnyMoment, BeforeValidator(_written_out), WithJsonSchema(_WRITTEN_OUT)]


class DeadLettersInput(Input):
    upload_id: UploadId | None = Field(None, description="Only of this upload")
    owner: Owner | None = Field(None, description="Only of this owner's uploads")
    error_code: Token | None = Field(None, description="Only those given up for this reason")
    before: Time | None = Field(None, description="Only those given up before this time")
    after: Time | None = Field(None, description="Only those given up at this time or later")

    def resolved(self, identity: Identity) -> DeadLetterFilter:
        owner = self.owner if identity.admin else identity.owner
        return DeadLetterFilter(owner, self.upload_id, self.error_code, self.before, self.after)

    def failures(self) -> Failures | None:
        """The failures of an upload that the filter covers; None: all."""
        only = Failures(error_code=self.error_code, after=self.after, before=self.before)
        return None if only == Failures() else only


class RedriveBody(DeadLettersInput):
    dry_run: bool = Field(False, description="Only say what it would mean")
    force: bool = Field(False, description="Also uploads that had the usual number of rounds")


class DismissQuery(DeadLettersInput):
    dry_run: bool = Field(False, description="Only say what would go")


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


async def redrive(backend: Backend, identity: Identity, wanted: RedriveBody) -> Redriven:
    """Looks up the phones again that the filter covers, and no others, through the same queue and limit."""
    where = wanted.resolved(identity)
    groups = await backend.database.read(partial(dead_letters.group_dead_letters, wanted=where))
    events: dict[str, UploadEvent] = {}
    refused: list[NotRedriven] = []
    for upload_id in dict.fromkeys(group.upload_id for group in groups):
        event = await _retry(backend, identity, upload_id, wanted)
        if isinstance(event, str):
            refused.append(NotRedriven(upload_id=upload_id, detail=event))
        else:
            events[upload_id] = event
    calls = await backend.database.read(partial(dead_letters.count_phones, wanted=where, upload_ids=events.keys()))
    for event in () if wanted.dry_run else events.values():
        await backend.writer.publish_event(event)
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
    """The upload's `RetryFailed` for the dead letters that the filter covers; or the reason why not."""
    record = await backend.database.read(lambda connection: reads.upload(connection, upload_id))
    if record is None or not is_upload_id(upload_id):
        return "The upload has been deleted."
    decision = commands.retry_failed(
        target_of(record),
        by=identity.owner,
        now=datetime.now(UTC),
        force=wanted.force,
        only=wanted.failures(),
        but_not=await backend.database.read(lambda connection: dead_letters.dismissed(connection, upload_id)),
    )
    if isinstance(decision, CommandRefused):
        return decision.detail
    return decision.events[0] if decision.events else "Its failed rows are being looked up again already."


def _reasons(counts: Iterable[tuple[str, int]]) -> dict[str, int]:
    reasons: dict[str, int] = {}
    for code, count in counts:
        reasons[code] = reasons.get(code, 0) + count
    return reasons


async def dismiss(backend: Backend, identity: Identity, wanted: DismissQuery) -> Dismissed:
    """Removes the dead letters that the filter covers from the list. A phone that fails again is listed again."""
    where = wanted.resolved(identity)
    groups = await backend.database.read(partial(dead_letters.group_dead_letters, wanted=where))
    for upload_id in () if wanted.dry_run else dict.fromkeys(filter(is_upload_id, (one.upload_id for one in groups))):
        only = _until_newest(wanted, [group for group in groups if group.upload_id == upload_id])
        event = DismissFailed(upload_id=upload_id, at=datetime.now(UTC), by=identity.owner, only=only)
        await backend.writer.publish_event(event)
    return Dismissed(
        dry_run=wanted.dry_run,
        uploads=len({group.upload_id for group in groups}),
        rows=sum(group.rows for group in groups),
        reasons=_reasons((group.error_code, group.rows) for group in groups),
    )


def _until_newest(wanted: DismissQuery, groups: Iterable[DeadLetterGroup]) -> Failures:
    """The filter up to the newest failure on the list, by the gate's clock: the clock here may differ."""
    until = max(group.newest for group in groups) + timedelta(microseconds=1)
    return Failures(error_code=wanted.error_code, after=wanted.after, before=until)

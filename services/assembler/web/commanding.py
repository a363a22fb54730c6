"""The JSON calls that change uploads: each decides, writes events, and answers 202 with the upload as it becomes."""

from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Any

from pydantic import BaseModel, Field
from starlette.responses import Response

from schemas.ids import idempotent_upload_id, new_upload_id
from schemas.interface import Upload
from schemas.uploads import FileLocation, UploadOpened, UploadOptions, UploadState
from services.assembler import commands
from services.assembler.commands import Accepted, Decision, Refused, Target
from services.assembler.store import reads
from services.assembler.store.records import UploadCursor, UploadRecord
from services.assembler.store.tables import to_micros
from services.assembler.web.backend import Backend
from services.assembler.web.calls import Ask, Call, Input, Nothing, json_answer
from services.runtime.identity import Identity
from services.runtime.problems import ProblemError

PAGE_UPLOADS = 200
VISIBLE_SECONDS = 2.0
"""How long an answer waits until SQL shows what the command did."""
Decide = Callable[[Target, str, datetime], Decision]


class StartBody(Input):
    max_calls: Annotated[int | None, Field(ge=0, description="Stop after so many calls")] = None
    sample_rows: Annotated[int | None, Field(ge=1, description="Only so many rows")] = None


class RetryBody(Input):
    force: bool = Field(False, description="Also after the usual number of rounds")


class PriorityBody(Input):
    priority: Annotated[int, Field(ge=1, le=5, description="1 high … 5 low")]


class OptionsBody(UploadOptions):
    """Options to change; those left out stay as they are."""

    model_config = Input.model_config


class ClearBody(Input):
    older_than_days: Annotated[float, Field(ge=0, le=36_500, description="Created at least so many days ago")] = 0
    states: tuple[UploadState, ...] = Field(commands.FINISHED, description="Only uploads in these states")
    dry_run: bool = Field(False, description="Only say how many")


class Cleared(Input):
    uploads: int
    dry_run: bool


def target_of(record: UploadRecord) -> Target:
    options = UploadOptions() if record.options is None else UploadOptions.model_validate_json(record.options)
    return Target(record.id, record.state, record.round, record.failed, record.wanted_at is not None, options)


async def carry_out(backend: Backend, identity: Identity, upload_id: str, decide: Decide) -> Upload:
    """Decides on the present state, writes the events, waits a moment for their effect; returns the upload.

    Raises:
        ProblemError: 409 in the wrong state, 404 and 503 as `Backend.find`.
    """
    record = await backend.find(identity, upload_id)
    decision = decide(target_of(record), identity.owner, datetime.now(UTC))
    if isinstance(decision, Refused):
        raise ProblemError(409, "wrong-state", "Not in this state", decision.detail)
    for event in decision.events:
        await backend.publish_event(event)
    if decision.events:
        return await _as_it_becomes(backend, record, decision)
    return await backend.view(record)


async def _as_it_becomes(backend: Backend, before: UploadRecord, decision: Accepted) -> Upload:
    """What SQL shows once the join has read the events; if that takes long, the state that they will lead to."""
    if not decision.expect:
        return await backend.view(before)
    record = await backend.wait_for(
        before.id,
        lambda found: found is None or (found.version > before.version and found.state in decision.expect),
        VISIBLE_SECONDS,
    )
    if record is None:
        return await backend.view(before)
    upload = await backend.view(record)
    if record.version > before.version or upload.state in decision.expect:
        return upload
    return upload.model_copy(update={"state": decision.expect[0]})


async def carry_out_on(
    backend: Backend, identity: Identity, records: Iterable[UploadRecord], decide: Decide
) -> tuple[int, list[str]]:
    """Decides for each upload and writes the events, without waiting for their effect.

    Returns how many were accepted, and why the others were not.
    """
    accepted = 0
    refusals: list[str] = []
    for record in records:
        decision = decide(target_of(record), identity.owner, datetime.now(UTC))
        if isinstance(decision, Refused):
            refusals.append(decision.detail)
            continue
        for event in decision.events:
            await backend.publish_event(event)
        accepted += 1
    return accepted, refusals


async def matching_uploads(
    backend: Backend, identity: Identity, *, states: tuple[UploadState, ...] = ()
) -> AsyncIterator[list[UploadRecord]]:
    """All uploads in these states that the identity may see, some at a time, newest first."""
    owner = None if identity.admin else identity.owner
    after: UploadCursor | None = None
    while True:
        query = partial(reads.list_uploads, owner=owner, states=states, after=after, limit=PAGE_UPLOADS)
        records = await backend.read(query)
        yield records
        if len(records) < PAGE_UPLOADS:
            return
        assert records[-1].created_at is not None
        after = UploadCursor(to_micros(records[-1].created_at), records[-1].id)


def _command(
    name: str, decide: Callable[[Ask[Any, Any]], Decide], summary: str, body: type[BaseModel] = Nothing
) -> Call:
    async def handler(ask: Ask[Nothing, Any]) -> Response:
        return json_answer(await carry_out(ask.backend, ask.identity, ask.upload_id, decide(ask)), 202)

    return Call(
        "POST",
        f"/v1/uploads/{{upload_id}}/{name}",
        handler,
        summary,
        {202: ("The upload", Upload)},
        body=body,
        problems=(400, 403, 404, 409, 503),
    )


def _start(ask: Ask[Nothing, StartBody]) -> Decide:
    return lambda target, by, now: commands.start(
        target, by=by, now=now, max_calls=ask.body.max_calls, sample_rows=ask.body.sample_rows
    )


def changed_options(before: UploadOptions, changes: UploadOptions) -> UploadOptions:
    """The options with those replaced that the changes name."""
    return before.model_copy(update={name: getattr(changes, name) for name in changes.model_fields_set})


def _options(ask: Ask[Nothing, OptionsBody]) -> Decide:
    return lambda target, by, now: commands.set_options(
        target, changed_options(target.options, ask.body), by=by, now=now
    )


async def _patch(ask: Ask[Nothing, PriorityBody]) -> Response:
    def decide(target: Target, by: str, now: datetime) -> Decision:
        return commands.set_priority(target, ask.body.priority, by=by, now=now)

    upload = await carry_out(ask.backend, ask.identity, ask.upload_id, decide)
    return json_answer(upload.model_copy(update={"priority": ask.body.priority}), 202)


async def _delete(ask: Ask[Nothing, Nothing]) -> Response:
    def decide(target: Target, by: str, now: datetime) -> Decision:
        return commands.delete(target, by=by, now=now)

    return json_answer(await carry_out(ask.backend, ask.identity, ask.upload_id, decide), 202)


async def reprocess(
    backend: Backend, identity: Identity, upload_id: str, changes: UploadOptions, key: str | None = None
) -> Upload:
    """Opens a new upload of the stored file, with the old options and these changes.

    Raises:
        ProblemError: 410 when the file has expired, 409 when there never was one.
    """
    record = await backend.find(identity, upload_id)
    now = datetime.now(UTC)
    if record.file is None:
        raise ProblemError(409, "no-file", "There is no file", "Another system sent the rows, only it can do so again.")
    assert record.created_at is not None
    if now >= record.created_at + timedelta(days=backend.settings.keep_days):
        raise ProblemError(410, "file-expired", "The file has expired", "It is no longer stored. Upload it again.")
    before = target_of(record).options
    opened = UploadOpened(
        upload_id=_new_id(identity, key, now),
        at=now,
        by=identity.owner,
        name=record.name or "",
        owner=record.owner or identity.owner,
        operation="reprocess",
        parent_id=record.id,
        options=changed_options(before.model_copy(update={"start": True}), changes),
        file=FileLocation.model_validate_json(record.file),
        bytes=record.file_bytes,
        sha256=record.sha256,
    )
    await backend.publish_event(opened)
    found = await backend.wait_for(opened.upload_id, lambda one: one is not None, VISIBLE_SECONDS)
    if found is None:
        raise ProblemError(
            503,
            "not-there-yet",
            "The new upload is not there yet",
            f"It is stored with the id {opened.upload_id} and will be shown in a moment.",
            headers={"Retry-After": "2", "Location": f"/v1/uploads/{opened.upload_id}"},
        )
    return await backend.view(found)


def _new_id(identity: Identity, key: str | None, now: datetime) -> str:
    if key:
        return idempotent_upload_id(identity.owner, key)
    return new_upload_id(now_ms=int(now.timestamp() * 1000))


async def _reprocess(ask: Ask[Nothing, OptionsBody]) -> Response:
    key = ask.request.headers.get("idempotency-key")
    upload = await reprocess(ask.backend, ask.identity, ask.upload_id, ask.body, key)
    return json_answer(upload, 202, {"Location": upload.links.self})


async def _clear(ask: Ask[Nothing, ClearBody]) -> Response:
    return json_answer(await clear(ask.backend, ask.identity, ask.body), 202)


async def clear(backend: Backend, identity: Identity, wanted: ClearBody) -> Cleared:
    """Deletes (or only counts) the uploads that are old enough and in these states."""
    before = datetime.now(UTC) - timedelta(days=wanted.older_than_days)
    count = 0
    async for records in matching_uploads(backend, identity, states=wanted.states):
        old = [record for record in records if record.created_at is not None and record.created_at <= before]
        count += len(old)
        if not wanted.dry_run:
            await carry_out_on(backend, identity, old, lambda target, by, now: commands.delete(target, by=by, now=now))
    return Cleared(uploads=count, dry_run=wanted.dry_run)


CALLS = (
    _command("start", _start, "Start an upload that was checked", StartBody),
    _command("options", _options, "Change options before the start; the file is checked again", OptionsBody),
    _command(
        "pause",
        lambda _: lambda target, by, now: commands.pause(target, by=by, now=now),
        "Make no more calls for it until it is resumed",
    ),
    _command(
        "resume", lambda _: lambda target, by, now: commands.resume(target, by=by, now=now), "Go on after a pause"
    ),
    _command(
        "cancel",
        lambda _: lambda target, by, now: commands.cancel(target, by=by, now=now),
        "Stop early and keep what is known",
    ),
    _command(
        "retry-failed",
        lambda ask: lambda target, by, now: commands.retry_failed(target, by=by, now=now, force=ask.body.force),
        "Look the failed rows up again",
        RetryBody,
    ),
    Call(
        "POST",
        "/v1/uploads/{upload_id}/reprocess",
        _reprocess,
        "Run the stored file again as a new upload, with other options if wanted",
        {202: ("The new upload", Upload)},
        body=OptionsBody,
        problems=(400, 403, 404, 409, 410, 503),
    ),
    Call(
        "PATCH",
        "/v1/uploads/{upload_id}",
        _patch,
        "Change its priority",
        {202: ("The upload", Upload)},
        body=PriorityBody,
        problems=(400, 403, 404, 409, 503),
    ),
    Call(
        "DELETE",
        "/v1/uploads/{upload_id}",
        _delete,
        "Delete it; if it is unfinished, it is stopped first",
        {202: ("The upload as it was", Upload)},
        problems=(400, 403, 404, 503),
    ),
    Call(
        "POST",
        "/v1/uploads/clear",
        _clear,
        "Delete old uploads",
        {202: ("How many", Cleared)},
        body=ClearBody,
        problems=(400, 403, 503),
    ),
)

"""The JSON calls that change uploads: each decides, writes events, and answers 202 with the upload as it becomes."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, Field
from starlette.responses import Response

from schemas.interface import Upload
from schemas.uploads import FINISHED, UploadOptions, UploadState
from schemas.values import Count, Priority
from services.assembler.domain import commands
from services.assembler.domain.commands import CommandDecision, Target
from services.assembler.status.api.calls import Ask, Call, json_answer
from services.assembler.status.backend import Backend
from services.assembler.status.commanding import (
    Decide,
    carry_out,
    carry_out_on,
    changed_options,
    matching_uploads,
    reprocess,
)
from services.assembler.status.inputs import Input, Nothing, Some
from services.runtime.identity import Identity


class StartBody(Input):
    max_calls: Count | None = Field(None, description="Stop after so many calls")
    sample_rows: Annotated[Count, Field(ge=1)] | None = Field(None, description="Only so many rows")


class RetryBody(Input):
    force: bool = Field(False, description="Also after the usual number of rounds")


class PriorityBody(Input):
    priority: Priority = Field(description="1 high … 5 low")


class OptionsBody(UploadOptions):
    """Options to change; those left out stay as they are."""

    model_config = Input.model_config


class ClearBody(Input):
    older_than_days: Annotated[float, Field(ge=0, le=36_500, description="Created at least so many days ago")] = 0
    states: Annotated[tuple[UploadState, ...], Some] = Field(FINISHED, description="Only uploads in these states")
    dry_run: bool = Field(False, description="Only say how many")


class Cleared(Input):
    uploads: int
    dry_run: bool


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
        problems=(404, 409),
    )


def _start(ask: Ask[Nothing, StartBody]) -> Decide:
    return lambda target, by, now: commands.start(
        target, by=by, now=now, max_calls=ask.body.max_calls, sample_rows=ask.body.sample_rows
    )


def _options(ask: Ask[Nothing, OptionsBody]) -> Decide:
    return lambda target, by, now: commands.set_options(
        target, changed_options(target.options, ask.body), by=by, now=now
    )


async def _patch(ask: Ask[Nothing, PriorityBody]) -> Response:
    def decide(target: Target, by: str, now: datetime) -> CommandDecision:
        return commands.set_priority(target, ask.body.priority, by=by, now=now)

    upload = await carry_out(ask.backend, ask.identity, ask.upload_id, decide)
    return json_answer(upload.model_copy(update={"priority": ask.body.priority}), 202)


async def _delete(ask: Ask[Nothing, Nothing]) -> Response:
    def decide(target: Target, by: str, now: datetime) -> CommandDecision:
        return commands.delete(target, by=by, now=now)

    return json_answer(await carry_out(ask.backend, ask.identity, ask.upload_id, decide), 202)


async def _reprocess(ask: Ask[Nothing, OptionsBody]) -> Response:
    upload = await reprocess(ask.backend, ask.identity, ask.upload_id, ask.body, ask.idempotency_key)
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
        idempotent=True,
        problems=(404, 409, 410),
    ),
    Call(
        "PATCH",
        "/v1/uploads/{upload_id}",
        _patch,
        "Change its priority",
        {202: ("The upload", Upload)},
        body=PriorityBody,
        problems=(404, 409),
    ),
    Call(
        "DELETE",
        "/v1/uploads/{upload_id}",
        _delete,
        "Delete it; if it is unfinished, it is stopped first",
        {202: ("The upload as it was", Upload)},
        problems=(404,),
    ),
    Call(
        "POST",
        "/v1/uploads/clear",
        _clear,
        "Delete old uploads",
        {202: ("How many", Cleared)},
        body=ClearBody,
    ),
)

"""Executes commands on uploads: decides, writes the events, and returns the upload in its new state."""

from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Final

from schemas.interface import Upload
from schemas.uploads import UploadOptions, UploadState
from services.assembler.domain.commands import CommandAccepted, CommandRefused, Target
from services.assembler.domain.stored import StoredUpload, UploadCursor
from services.assembler.domain.stored_numbers import to_micros
from services.assembler.domain.views import parsed
from services.assembler.status.backend import Backend
from services.assembler.status.operations.upload_commands import Decide
from services.assembler.status.upload_finder import is_upload_id
from services.assembler.store import reads
from services.runtime.identity import Identity
from services.runtime.problems import ProblemError

PAGE_UPLOADS: Final = 200
VISIBLE_SECONDS: Final = 2.0
"""How long an answer waits until SQL shows the effect of the command."""


def target_of(record: StoredUpload) -> Target:
    options = parsed(UploadOptions, record.options) or UploadOptions()
    return Target(
        record.id,
        record.state,
        record.round,
        record.failed,
        record.wanted_at is not None,
        options,
        cancelled=record.cancelled_at is not None,
    )


async def execute(backend: Backend, identity: Identity, upload_id: str, decide: Decide) -> Upload:
    """Decides on the present state, writes the events, waits a moment for their effect; returns the upload.

    Raises:
        ProblemError: 409 in the wrong state, 404 and 503 as `UploadFinder.find`.
    """
    record = await backend.uploads.find(identity, upload_id)
    decision = decide(target_of(record), identity.owner, datetime.now(UTC))
    if isinstance(decision, CommandRefused):
        raise ProblemError(409, "wrong-state", "Not in this state", decision.detail)
    for event in decision.events:
        await backend.writer.publish_event(event)
    if decision.events:
        return await _with_effect(backend, record, decision)
    return await backend.views.one(record)


async def _with_effect(backend: Backend, before: StoredUpload, decision: CommandAccepted) -> Upload:
    """The upload as SQL shows it once the join has read the events; if that takes long, with the expected state."""
    if not decision.expect:
        return await backend.views.one(before)
    record = await backend.uploads.wait_for(
        before.id,
        lambda found: found is None or (found.version > before.version and found.state in decision.expect),
        VISIBLE_SECONDS,
    )
    if record is None:
        return await backend.views.one(before)
    upload = await backend.views.one(record)
    if record.version > before.version or upload.state in decision.expect:
        return upload
    return upload.model_copy(update={"state": decision.expect[0]})


async def execute_on(backend: Backend, identity: Identity, records: Iterable[StoredUpload], decide: Decide) -> int:
    """Decides for each upload and writes the events, without waiting for their effect; returns how many it accepted."""
    accepted = 0
    for record in records:
        decision = decide(target_of(record), identity.owner, datetime.now(UTC))
        if isinstance(decision, CommandRefused):
            continue
        for event in decision.events:
            await backend.writer.publish_event(event)
        accepted += 1
    return accepted


async def matching_uploads(
    backend: Backend, identity: Identity, *, states: tuple[UploadState, ...] = ()
) -> AsyncIterator[list[StoredUpload]]:
    """All uploads in these states that the identity may see, newest first, in lists of at most `PAGE_UPLOADS`."""
    owner = None if identity.admin else identity.owner
    after: UploadCursor | None = None
    while True:
        query = partial(reads.list_uploads, owner=owner, states=states, after=after, limit=PAGE_UPLOADS)
        records = await backend.database.read(query)
        yield [record for record in records if is_upload_id(record.id)]
        if len(records) < PAGE_UPLOADS:
            return
        assert records[-1].created_at is not None
        after = UploadCursor(to_micros(records[-1].created_at), records[-1].id)

"""Carries commands on uploads out: decides, writes the events, and tells the upload as it becomes."""

from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial

from schemas.ids import idempotent_upload_id, new_upload_id
from schemas.interface import Upload
from schemas.upload_events import UploadOpened
from schemas.uploads import FileLocation, UploadOptions, UploadState
from services.assembler.domain.commands import CommandAccepted, CommandDecision, CommandRefused, Target
from services.assembler.domain.stored import StoredUpload, UploadCursor
from services.assembler.domain.stored_numbers import to_micros
from services.assembler.domain.views import parsed
from services.assembler.status.backend import Backend, is_upload_id
from services.assembler.store import reads
from services.runtime.identity import Identity
from services.runtime.problems import ProblemError

PAGE_UPLOADS = 200
VISIBLE_SECONDS = 2.0
"""How long an answer waits until SQL shows what the command did."""
Decide = Callable[[Target, str, datetime], CommandDecision]


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


async def carry_out(backend: Backend, identity: Identity, upload_id: str, decide: Decide) -> Upload:
    """Decides on the present state, writes the events, waits a moment for their effect; returns the upload.

    Raises:
        ProblemError: 409 in the wrong state, 404 and 503 as `Backend.find`.
    """
    record = await backend.find(identity, upload_id)
    decision = decide(target_of(record), identity.owner, datetime.now(UTC))
    if isinstance(decision, CommandRefused):
        raise ProblemError(409, "wrong-state", "Not in this state", decision.detail)
    for event in decision.events:
        await backend.publish_event(event)
    if decision.events:
        return await _as_it_becomes(backend, record, decision)
    return await backend.view(record)


async def _as_it_becomes(backend: Backend, before: StoredUpload, decision: CommandAccepted) -> Upload:
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


async def carry_out_on(backend: Backend, identity: Identity, records: Iterable[StoredUpload], decide: Decide) -> int:
    """Decides for each upload and writes the events, without waiting for their effect; returns how many it accepted."""
    accepted = 0
    for record in records:
        decision = decide(target_of(record), identity.owner, datetime.now(UTC))
        if isinstance(decision, CommandRefused):
            continue
        for event in decision.events:
            await backend.publish_event(event)
        accepted += 1
    return accepted


async def matching_uploads(
    backend: Backend, identity: Identity, *, states: tuple[UploadState, ...] = ()
) -> AsyncIterator[list[StoredUpload]]:
    """All uploads in these states that the identity may see, some at a time, newest first."""
    owner = None if identity.admin else identity.owner
    after: UploadCursor | None = None
    while True:
        query = partial(reads.list_uploads, owner=owner, states=states, after=after, limit=PAGE_UPLOADS)
        records = await backend.read(query)
        yield [record for record in records if is_upload_id(record.id)]
        if len(records) < PAGE_UPLOADS:
            return
        assert records[-1].created_at is not None
        after = UploadCursor(to_micros(records[-1].created_at), records[-1].id)


def changed_options(before: UploadOptions, changes: UploadOptions) -> UploadOptions:
    """The options with those replaced that the changes name."""
    return before.model_copy(update={name: getattr(changes, name) for name in changes.model_fields_set})


async def reprocess(
    backend: Backend, identity: Identity, upload_id: str, changes: UploadOptions, key: str | None = None
) -> Upload:
    """Opens a new upload of the stored file, with the old options and these changes.

    Raises:
        ProblemError: 410 when the file has expired, 409 when there never was one.
    """
    record = await backend.find(identity, upload_id)
    now = datetime.now(UTC)
    file = parsed(FileLocation, record.file)
    if file is None:
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
        file=file,
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

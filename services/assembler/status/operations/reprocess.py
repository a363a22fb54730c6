"""Runs a stored file again, as a new upload with other options."""

from datetime import UTC, datetime, timedelta

from schemas.ids import idempotent_upload_id, new_upload_id
from schemas.interface import Upload
from schemas.upload_events import UploadOpened
from schemas.uploads import FileLocation, UploadOptions
from services.assembler.domain.stored import StoredUpload
from services.assembler.domain.views import parsed
from services.assembler.status.backend import Backend
from services.assembler.status.operations.command_execution import VISIBLE_SECONDS, target_of
from services.assembler.status.operations.upload_commands import changed_options
from services.runtime.identity import Identity
from services.runtime.problems import ProblemError


async def reprocess(
    backend: Backend, identity: Identity, upload_id: str, changes: UploadOptions, key: str | None = None
) -> Upload:
    """Opens a new upload of the stored file, with the old options and these changes. `key`: the idempotency key.

    Raises:
        ProblemError: 410 when the file has expired, 409 when there never was one, 503 when the new upload does not
            show in time.
    """
    record = await backend.uploads.find(identity, upload_id)
    now = datetime.now(UTC)
    file = _stored_file(record, keep_days=backend.settings.keep_days, now=now)
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
    await backend.writer.publish_event(opened)
    found = await backend.uploads.wait_for(opened.upload_id, lambda one: one is not None, VISIBLE_SECONDS)
    if found is None:
        raise _not_there_yet(opened.upload_id)
    return await backend.views.one(found)


def _stored_file(record: StoredUpload, *, keep_days: int, now: datetime) -> FileLocation:
    file = parsed(FileLocation, record.file)
    if file is None:
        raise ProblemError(
            409, "no-file", "There is no file", "Another system sent the rows; only that system can send them again."
        )
    assert record.created_at is not None
    if now >= record.created_at + timedelta(days=keep_days):
        raise ProblemError(410, "file-expired", "The file has expired", "It is no longer stored. Upload it again.")
    return file


def _new_id(identity: Identity, key: str | None, now: datetime) -> str:
    if key:
        return idempotent_upload_id(identity.owner, key)
    return new_upload_id(now_ms=int(now.timestamp() * 1000))


def _not_there_yet(upload_id: str) -> ProblemError:
    return ProblemError(
        503,
        "not-there-yet",
        "The new upload is not there yet",
        f"It is stored with the id {upload_id} and will be shown in a moment.",
        headers={"Retry-After": "2", "Location": f"/v1/uploads/{upload_id}"},
    )

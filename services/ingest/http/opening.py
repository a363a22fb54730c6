"""Builds the representation of an upload that was stored and not yet read."""

from datetime import timedelta

from schemas.interface import Summary, Upload, links_of
from schemas.upload_events import UploadOpened
from schemas.uploads import Counts


def fresh_upload(opened: UploadOpened, *, keep_days: int) -> Upload:
    """The upload right after it was stored: state `pending`, nothing known of its rows."""
    return Upload(
        id=opened.upload_id,
        name=opened.name,
        bytes=opened.bytes,
        sha256=opened.sha256,
        owner=opened.owner,
        operation=opened.operation,
        parent_id=opened.parent_id,
        state="pending",
        outcome=None,
        round=0,
        priority=opened.options.priority,
        why=None,
        options=opened.options,
        detected=None,
        plan=None,
        counts=Counts(),
        summary=Summary(),
        position=None,
        eta=None,
        created_at=opened.at,
        started_at=None,
        finished_at=None,
        expires_at=opened.at + timedelta(days=keep_days),
        error=None,
        links=links_of(opened.upload_id),
    )

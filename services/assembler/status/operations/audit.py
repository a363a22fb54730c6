"""Reads pages of the audit list: who did what, to uploads and to the queue."""

import json
from typing import Annotated, Any

from pydantic import Field, JsonValue

from schemas.base import Message
from schemas.values import Moment, Owner, UploadId
from services.assembler.domain.stored_numbers import to_micros
from services.assembler.status.backend import Backend
from services.assembler.status.inputs import Input
from services.assembler.status.operations.cursors import AuditCursor, cursor_numbers, encode_cursor
from services.assembler.store import reads


class AuditQuery(Input):
    upload_id: UploadId | None = Field(None, description="Only what was done to this upload")
    by: Owner | None = Field(None, description="Only what this owner did")
    cursor: AuditCursor | None = None
    limit: Annotated[int, Field(ge=1, le=1000, description="Most entries on a page")] = 100


class AuditItem(Message):
    """Who did what to which upload; null: to the queue, or to one number in all uploads."""

    at: Moment
    by: str
    action: str
    upload_id: str | None
    detail: dict[str, JsonValue]


async def audit_page(backend: Backend, query: AuditQuery) -> tuple[list[AuditItem], str | None]:
    """A page of entries, newest first, and the cursor of the next one."""
    after: tuple[int, int] | None = None
    if query.cursor is not None:
        micros, last_id = cursor_numbers(query.cursor)
        after = (micros, last_id)
    found = await backend.database.read(
        lambda connection: reads.list_audit(
            connection, upload_id=query.upload_id, by=query.by, after=after, limit=query.limit + 1
        )
    )
    shown = found[: query.limit]
    items = [
        AuditItem(at=one.at, by=one.by, action=one.action, upload_id=one.upload_id or None, detail=_object(one.detail))
        for one in shown
    ]
    following = encode_cursor(to_micros(shown[-1].at), shown[-1].id) if len(found) > len(shown) else None
    return items, following


def _object(text: str) -> dict[str, Any]:
    found = json.loads(text)
    return found if isinstance(found, dict) else {}

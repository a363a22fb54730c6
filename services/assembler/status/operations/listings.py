"""Reads pages of lists: the uploads that somebody may see, and the rows of one of them."""

from typing import Annotated

from pydantic import Field

from schemas.interface import Row, Upload
from schemas.lookups import LineType, Verdict
from schemas.rows import RowState
from schemas.uploads import UploadState
from schemas.values import Owner
from services.assembler.domain.stored import RowFilter, UploadCursor
from services.assembler.domain.stored_numbers import to_micros
from services.assembler.domain.views import row_view
from services.assembler.status.backend import Backend
from services.assembler.status.inputs import Bounded, Input
from services.assembler.status.operations.cursors import (
    RowsCursor,
    UploadsCursor,
    cursor_numbers,
    encode_cursor,
    number_and_id,
)
from services.assembler.store import reads
from services.runtime.identity import Identity


class ListQuery(Input):
    state: Annotated[tuple[UploadState, ...], Bounded] = Field(
        (), description="Only uploads in these states; repeat or comma-separate"
    )
    owner: Owner | None = Field(None, description="Only this owner's uploads; for admins")
    cursor: UploadsCursor | None = None
    limit: Annotated[int, Field(ge=1, le=200, description="Most uploads on a page")] = 50


class RowsQuery(Input):
    state: Annotated[tuple[RowState, ...], Bounded] = Field((), description="Only rows in these states")
    verdict: Annotated[tuple[Verdict, ...], Bounded] = Field((), description="Only rows with these verdicts")
    line_type: Annotated[tuple[LineType, ...], Bounded] = Field((), description="Only rows with these line types")
    cursor: RowsCursor | None = None
    limit: Annotated[int, Field(ge=1, le=1000, description="Most rows on a page")] = 200


async def uploads_page(backend: Backend, identity: Identity, query: ListQuery) -> tuple[list[Upload], str | None]:
    """A page of the uploads that the identity may see, newest first, and the cursor of the next one."""
    after = None
    if query.cursor is not None:
        after = UploadCursor(*number_and_id(query.cursor))
    owner = query.owner if identity.admin else identity.owner
    records = await backend.database.read(
        lambda connection: reads.list_uploads(
            connection, owner=owner, states=query.state, after=after, limit=query.limit + 1
        )
    )
    if not identity.admin and query.owner not in (None, identity.owner):
        return [], None
    following = None
    if len(records) > query.limit:
        last = records[query.limit - 1]
        assert last.created_at is not None
        following = encode_cursor(to_micros(last.created_at), last.id)
    return await backend.views.many(records[: query.limit]), following


async def rows_page(
    backend: Backend, identity: Identity, upload_id: str, query: RowsQuery
) -> tuple[list[Row], str | None]:
    """A page of rows by row number, and the cursor of the next one."""
    record = await backend.uploads.find(identity, upload_id)
    after = 0 if query.cursor is None else cursor_numbers(query.cursor)[0]
    wanted = RowFilter(query.state, query.verdict, query.line_type)
    stored = await backend.database.read(
        lambda connection: reads.rows_page(connection, record, wanted=wanted, after_row=after, limit=query.limit + 1)
    )
    rows = [row_view(row, cancelled=record.cancelled_at is not None) for row in stored[: query.limit]]
    following = encode_cursor(rows[-1].row) if len(stored) > query.limit else None
    return rows, following

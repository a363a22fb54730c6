"""Owns the deletion of old data: rows of deleted and of expired uploads, and old requests for sweeps.

Results stay, as they do on the compacted topic: the lookup worker relies on the join having every result that it has.
"""

from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, delete, func, or_, select, update

from schemas.values import MAX_INT32
from services.assembler.store.dialect import take_turn
from services.assembler.store.tables import (
    dismissals,
    outbox,
    plan_answers,
    row_changes,
    rows,
    sweeps,
    tallies,
    uploads,
)

CHUNK_ROWS = 10_000
ASKED_DAYS = 1


def expire_uploads(connection: Connection, *, before: datetime) -> int:
    """Marks uploads as deleted that were opened, or first seen and never opened, before then; returns how many."""
    take_turn(connection, alone=True)
    began_at = func.coalesce(uploads.c.created_at, uploads.c.first_seen_at)
    never_opened = and_(uploads.c.created_at.is_(None), uploads.c.first_seen_at < before)
    statement = (
        update(uploads)
        .where(or_(uploads.c.created_at < before, never_opened), uploads.c.deleted_at.is_(None))
        .values(deleted_at=began_at, version=uploads.c.version + 1)
    )
    return connection.execute(statement).rowcount


def drop_rows(connection: Connection) -> bool:
    """Drops some rows of one deleted upload, and after its last rows its other data; returns whether there was any.

    The row of the upload itself stays, so that late records do not bring the upload back.
    """
    upload_no, upload_id = _deleted_upload(connection)
    if upload_no is None:
        return False
    first = connection.execute(select(func.min(rows.c.row)).where(rows.c.upload_no == upload_no)).scalar()
    if first is not None:
        # A row's number may be the largest that the column holds; PostgreSQL refuses to compare it with a larger one.
        last = min(first + CHUNK_ROWS - 1, MAX_INT32)
        chunk = and_(rows.c.upload_no == upload_no, rows.c.row <= last)
        connection.execute(delete(rows).where(chunk))
        return True
    for table in (tallies, row_changes, plan_answers, dismissals):
        connection.execute(delete(table).where(table.c.upload_no == upload_no))
    connection.execute(delete(outbox).where(outbox.c.upload_id == upload_id, outbox.c.published))
    return True


def _deleted_upload(connection: Connection) -> tuple[int | None, str | None]:
    has_rows = select(rows.c.row).where(rows.c.upload_no == uploads.c.no).exists()
    has_tallies = select(tallies.c.n).where(tallies.c.upload_no == uploads.c.no).exists()
    query = select(uploads.c.no, uploads.c.id).where(uploads.c.deleted_at.is_not(None), or_(has_rows, has_tallies))
    found = connection.execute(query.limit(1)).first()
    return (None, None) if found is None else (found[0], found[1])


def drop_sweeps(connection: Connection, *, now: datetime) -> None:
    """Drops requests for sweeps that are older than a day."""
    connection.execute(delete(sweeps).where(sweeps.c.requested_at < now - timedelta(days=ASKED_DAYS)))

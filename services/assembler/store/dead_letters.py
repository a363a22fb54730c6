"""Owns the reads of failed rows: dead letters by filter, and what a redrive of them would mean."""

from typing import Any

from sqlalchemy import Connection, Select, and_, distinct, func, or_, select

from services.assembler.store.records import DeadLetterFilter, DeadLetterGroup, StoredDeadLetter
from services.assembler.store.tables import (
    State,
    from_micros,
    is_open,
    not_dismissed,
    results,
    rows,
    to_micros,
    uploads,
)

_FAILED = rows.join(uploads, uploads.c.no == rows.c.upload_no).join(results, results.c.id == rows.c.result_id)


def list_dead_letters(
    connection: Connection,
    wanted: DeadLetterFilter,
    *,
    after: tuple[int, int] | None = None,
    limit: int = 100,
) -> list[StoredDeadLetter]:
    """A page of failed rows, by upload and row. `after`: `upload_no` and `row` of the page before's last."""
    query = select(
        rows.c.upload_no,
        uploads.c.id,
        uploads.c.round,
        uploads.c.owner,
        rows.c.row,
        rows.c.phone,
        results.c.attempts,
        results.c.looked_up_at,
        results.c.error,
    ).select_from(_FAILED)
    if after is not None:
        no, row = after
        query = query.where(or_(rows.c.upload_no > no, and_(rows.c.upload_no == no, rows.c.row > row)))
    query = _filtered(query, wanted).order_by(rows.c.upload_no, rows.c.row).limit(limit)
    return [
        StoredDeadLetter(no, id_, round_, owner, row, phone, attempts, from_micros(at), error)
        for no, id_, round_, owner, row, phone, attempts, at, error in connection.execute(query)
    ]


def group_dead_letters(connection: Connection, wanted: DeadLetterFilter) -> list[DeadLetterGroup]:
    """What the filter covers, by upload and reason. A redrive costs one call for each distinct phone."""
    query = select(
        uploads.c.id,
        uploads.c.round,
        func.coalesce(results.c.error_code, ""),
        func.count(),
        func.count(distinct(rows.c.phone)),
    ).select_from(_FAILED)
    query = _filtered(query, wanted).group_by(uploads.c.id, uploads.c.round, results.c.error_code)
    return [DeadLetterGroup(*row) for row in connection.execute(query.order_by(uploads.c.id))]


def _filtered(query: Select[Any], wanted: DeadLetterFilter) -> Select[Any]:
    query = query.where(rows.c.state == int(State.failed), is_open(), uploads.c.deleted_at.is_(None), not_dismissed())
    if wanted.owner is not None:
        query = query.where(uploads.c.owner == wanted.owner)
    if wanted.upload_id is not None:
        query = query.where(uploads.c.id == wanted.upload_id)
    if wanted.error_code is not None:
        query = query.where(results.c.error_code == wanted.error_code)
    if wanted.after is not None:
        query = query.where(results.c.looked_up_at >= to_micros(wanted.after))
    if wanted.before is not None:
        query = query.where(results.c.looked_up_at < to_micros(wanted.before))
    return query

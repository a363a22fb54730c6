"""Owns the list of dead letters: failed rows that were not dismissed, by filter, and the cost of a redrive."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, distinct, exists, func, or_, select

from schemas.upload_events import Failures
from services.assembler.domain.row_state import State
from services.assembler.domain.stored import DeadLetterFilter, DeadLetterGroup, StoredDeadLetter
from services.assembler.domain.stored_numbers import EPOCH, from_micros, to_micros
from services.assembler.store.dialect import insert_or_ignore
from services.assembler.store.tables import dismissals, is_open, results, rows, uploads

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
        uploads.c.id.label("upload_id"),
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
        StoredDeadLetter(
            upload_no=found.upload_no,
            upload_id=found.upload_id,
            owner=found.owner,
            row=found.row,
            phone=found.phone,
            attempts=found.attempts,
            failed_at=from_micros(found.looked_up_at),
            error=found.error,
        )
        for found in connection.execute(query)
    ]


def group_dead_letters(connection: Connection, wanted: DeadLetterFilter) -> list[DeadLetterGroup]:
    """The failed rows that match the filter, counted by upload and reason."""
    query = select(
        uploads.c.id,
        func.coalesce(results.c.error_code, ""),
        func.count(),
        func.count(distinct(rows.c.phone)),
        func.max(results.c.looked_up_at),
    ).select_from(_FAILED)
    query = _filtered(query, wanted).group_by(uploads.c.id, results.c.error_code).order_by(uploads.c.id)
    return [
        DeadLetterGroup(id_, code, count, phones, from_micros(newest))
        for id_, code, count, phones, newest in connection.execute(query)
    ]


def count_phones(connection: Connection, wanted: DeadLetterFilter, upload_ids: Collection[str]) -> int:
    """Distinct phones of these uploads that match the filter: a redrive costs one call for each phone."""
    query = select(func.count(distinct(rows.c.phone))).select_from(_FAILED).where(uploads.c.id.in_(list(upload_ids)))
    return int(connection.execute(_filtered(query, wanted)).scalar_one())


def count_dead_letters(connection: Connection) -> int:
    """Distinct failed phones per upload, without deleted uploads and dismissed failures."""
    phones = select(rows.c.upload_no, rows.c.phone).select_from(_FAILED)
    each = _filtered(phones, DeadLetterFilter()).distinct().subquery()
    return connection.execute(select(func.count()).select_from(each)).scalar_one()


def dismiss(connection: Connection, upload_no: int, only: Failures, *, event_id: int, by_now: datetime) -> None:
    """Dismisses failures of an upload that match `only`; those before `by_now` if it has no end."""
    values = {
        "event_id": event_id,
        "upload_no": upload_no,
        "error_code": only.error_code,
        "after": to_micros(only.after or EPOCH),
        "before": to_micros(only.before or by_now),
    }
    connection.execute(insert_or_ignore(connection, dismissals).values(values))


def dismissed(connection: Connection, upload_id: str) -> tuple[Failures, ...]:
    """The dismissed failures of an upload."""
    query = (
        select(dismissals.c.error_code, dismissals.c.after, dismissals.c.before)
        .join(uploads, uploads.c.no == dismissals.c.upload_no)
        .where(uploads.c.id == upload_id)
        .order_by(dismissals.c.event_id)
    )
    return tuple(
        Failures(error_code=code, after=from_micros(after), before=from_micros(before))
        for code, after, before in connection.execute(query)
    )


def _is_listed() -> ColumnElement[bool]:
    return ~exists().where(
        dismissals.c.upload_no == rows.c.upload_no,
        or_(dismissals.c.error_code.is_(None), dismissals.c.error_code == results.c.error_code),
        results.c.looked_up_at >= dismissals.c.after,
        results.c.looked_up_at < dismissals.c.before,
    )


def _filtered(query: Select[Any], wanted: DeadLetterFilter) -> Select[Any]:
    query = query.where(rows.c.state == int(State.failed), is_open(), uploads.c.deleted_at.is_(None), _is_listed())
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

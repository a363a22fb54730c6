"""Owns what both roles read from SQL: uploads, rows by key-set, changes, totals, audit.

Every function takes an open connection and reads within its transaction; use `reading(engine)`.
"""

import json
from collections.abc import Collection, Iterator
from typing import Any

from sqlalchemy import Connection, Engine, Select, and_, func, or_, select

from schemas.uploads import UploadState
from services.assembler.domain.records import (
    AuditEntry,
    QueueTotals,
    RowChanges,
    RowFilter,
    StoredRow,
    UploadCursor,
    UploadRecord,
)
from services.assembler.store.dead_letters import count_dead_letters
from services.assembler.store.tables import audit, fences, meta, results, row_changes, rows, tallies, uploads
from services.assembler.store.values import State, from_micros


def reading(engine: Engine) -> Any:
    """A context manager that gives a connection with one consistent snapshot."""
    return engine.connect()


def epoch(connection: Connection) -> str | None:
    """The database's id; None before the join has ever opened it."""
    return connection.execute(select(meta.c.value).where(meta.c.name == "epoch")).scalar()


def upload(connection: Connection, upload_id: str) -> UploadRecord | None:
    """One upload with its tallies; None if it is unknown, deleted, or only its rows have come so far."""
    found = connection.execute(
        select(uploads).where(
            uploads.c.id == upload_id, uploads.c.created_at.is_not(None), uploads.c.deleted_at.is_(None)
        )
    ).first()
    if found is None:
        return None
    return next(_with_tallies(connection, [dict(found._mapping)]))


def list_uploads(
    connection: Connection,
    *,
    owner: str | None = None,
    states: Collection[UploadState] = (),
    after: UploadCursor | None = None,
    limit: int = 50,
) -> list[UploadRecord]:
    """A page of uploads, newest first, without previews. `owner` None: everybody's; no `states`: any."""
    columns = [column for column in uploads.c if column.name != "preview"]
    query = select(*columns).where(uploads.c.created_at.is_not(None), uploads.c.deleted_at.is_(None))
    if owner is not None:
        query = query.where(uploads.c.owner == owner)
    if states:
        query = query.where(uploads.c.state.in_(list(states)))
    if after is not None:
        last = (from_micros(after.created_at_micros), after.id)
        query = query.where(
            or_(uploads.c.created_at < last[0], and_(uploads.c.created_at == last[0], uploads.c.id < last[1]))
        )
    query = query.order_by(uploads.c.created_at.desc(), uploads.c.id.desc()).limit(limit)
    found = [dict(row._mapping) | {"preview": None} for row in connection.execute(query)]
    return list(_with_tallies(connection, found))


def count_open_uploads(connection: Connection, owner: str) -> int:
    """How many of an owner's uploads are unfinished."""
    return connection.execute(
        select(func.count())
        .select_from(uploads)
        .where(uploads.c.owner == owner, uploads.c.deleted_at.is_(None), uploads.c.state.in_(UNFINISHED))
    ).scalar_one()


UNFINISHED: tuple[UploadState, ...] = ("pending", "checking", "checked", "in_progress", "paused")


def _with_tallies(connection: Connection, found: list[dict[str, Any]]) -> Iterator[UploadRecord]:
    verdicts: dict[int, dict[str, int]] = {}
    line_types: dict[int, dict[str, int]] = {}
    query = select(tallies).where(tallies.c.upload_no.in_([row["no"] for row in found]), tallies.c.n > 0)
    for no, verdict, line_type, count in connection.execute(query):
        for kind, value in ((verdicts, verdict), (line_types, line_type)):
            of_upload = kind.setdefault(no, {})
            of_upload[value] = of_upload.get(value, 0) + count
    for row in found:
        yield UploadRecord(**row, verdicts=verdicts.get(row["no"], {}), line_types=line_types.get(row["no"], {}))


EVERY_ROW = RowFilter()
_ROW_COLUMNS = (
    rows.c.row,
    rows.c.line,
    rows.c.state,
    rows.c.phone,
    rows.c.cells,
    rows.c.error,
    results.c.outcome,
    results.c.verdict,
    results.c.line_type,
    results.c.carrier,
    results.c.country,
    results.c.reachable,
    results.c.do_not_call,
    results.c.provider,
    results.c.looked_up_at,
    results.c.attempts,
    results.c.error.label("result_error"),
)


def rows_page(
    connection: Connection,
    upload: UploadRecord,
    *,
    wanted: RowFilter = EVERY_ROW,
    after_row: int = 0,
    limit: int = 200,
) -> list[StoredRow]:
    """The next rows after `after_row`, by row number. For tables and downloads alike: short reads, no long snapshot."""
    query = _rows_of(upload).where(rows.c.row > after_row)
    query = _filtered(query, upload, wanted).order_by(rows.c.row).limit(limit)
    return [StoredRow._make(row) for row in connection.execute(query)]


def rows_by_number(connection: Connection, upload: UploadRecord, numbers: Collection[int]) -> list[StoredRow]:
    """These rows of an upload, by row number; unknown numbers are left out."""
    query = _rows_of(upload).where(rows.c.row.in_(list(numbers))).order_by(rows.c.row)
    return [StoredRow._make(row) for row in connection.execute(query)]


def _rows_of(upload: UploadRecord) -> Select[Any]:
    joined = rows.outerjoin(results, rows.c.result_id == results.c.id)
    return select(*_ROW_COLUMNS).select_from(joined).where(rows.c.upload_no == upload.no)


def _filtered(query: Select[Any], upload: UploadRecord, wanted: RowFilter) -> Select[Any]:
    if wanted.states:
        query = query.where(rows.c.state.in_(_stored_states(wanted.states, cancelled=upload.cancelled_at is not None)))
    if wanted.verdicts:
        query = query.where(results.c.verdict.in_(wanted.verdicts))
    if wanted.line_types:
        query = query.where(results.c.line_type.in_(wanted.line_types))
    return query


def _stored_states(states: Collection[str], *, cancelled: bool) -> list[int]:
    """Stored states behind those that people see: waiting rows of a cancelled upload show as unprocessed."""
    stored = {int(State[name]) for name in states}
    if cancelled:
        stored.discard(int(State.waiting))
        if "unprocessed" in states:
            stored.add(int(State.waiting))
    return sorted(stored)


def row_changes_since(connection: Connection, upload: UploadRecord, seq: int) -> RowChanges:
    """Rows that changed after version `seq`, up to the newest version held."""
    query = (
        select(row_changes.c.seq, row_changes.c.rows, row_changes.c.more)
        .where(row_changes.c.upload_no == upload.no, row_changes.c.seq > seq)
        .order_by(row_changes.c.seq)
    )
    held = connection.execute(query).all()
    numbers: dict[int, None] = {}
    for _, changed, _ in held:
        numbers.update(dict.fromkeys(json.loads(changed)))
    oldest = connection.execute(
        select(func.min(row_changes.c.seq)).where(row_changes.c.upload_no == upload.no)
    ).scalar()
    complete = (oldest is None or oldest <= seq + 1) and not any(more for _, _, more in held)
    return RowChanges(seq=held[-1][0] if held else seq, rows=tuple(numbers), complete=complete)


def queue_totals(connection: Connection) -> QueueTotals:
    """Totals over everything the database holds."""
    answered, failed, retries = connection.execute(
        select(
            func.coalesce(func.sum(fences.c.lookups_answered), 0),
            func.coalesce(func.sum(fences.c.lookups_failed), 0),
            func.coalesce(func.sum(fences.c.lookup_retries), 0),
        )
    ).one()
    by_state = connection.execute(
        select(uploads.c.state, func.count())
        .where(uploads.c.created_at.is_not(None), uploads.c.deleted_at.is_(None))
        .group_by(uploads.c.state)
    )
    return QueueTotals(
        answered=int(answered),
        failed=int(failed),
        retries=int(retries),
        dead_letters=count_dead_letters(connection),
        uploads_by_state={row[0]: row[1] for row in by_state},
    )


def list_audit(
    connection: Connection,
    *,
    upload_id: str | None = None,
    by: str | None = None,
    after: tuple[int, int] | None = None,
    limit: int = 100,
) -> list[AuditEntry]:
    """A page of commands, newest first. `after`: microseconds and id of the last entry of the page before."""
    query = select(audit)
    if upload_id is not None:
        query = query.where(audit.c.upload_id == upload_id)
    if by is not None:
        query = query.where(audit.c.by == by)
    if after is not None:
        at = from_micros(after[0])
        query = query.where(or_(audit.c.at < at, and_(audit.c.at == at, audit.c.id < after[1])))
    query = query.order_by(audit.c.at.desc(), audit.c.id.desc()).limit(limit)
    return [AuditEntry(**row._mapping) for row in connection.execute(query)]

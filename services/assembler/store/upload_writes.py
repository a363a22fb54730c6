"""Owns the writes of uploads: stubs, facts, counts, tallies, the ring of changed rows, audit."""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, case, literal, select, update

from services.assembler.domain.changes import UploadChanges
from services.assembler.domain.row_state import State
from services.assembler.domain.stored import AuditEntry, StoredUpload
from services.assembler.domain.stored_numbers import from_micros
from services.assembler.store.dialect import insert_or_ignore, upsert, upsert_adding
from services.assembler.store.instant import Instant
from services.assembler.store.tables import audit, row_changes, tallies, uploads

HELD_VERSIONS = 256
"""Versions of an upload whose changed rows are held for live views."""
UPLOADS_PER_QUERY = 5000
"""A result may name any number of uploads, and a statement takes 32,766 parameters on SQLite, 65,535 on PostgreSQL."""
K = TypeVar("K", str, int)
_TALLIED = frozenset({"verdicts", "line_types"})
_COLUMNS = tuple(field.name for field in fields(StoredUpload) if field.name not in _TALLIED)


def open_uploads(connection: Connection, ids: Collection[str], *, now: datetime) -> list[StoredUpload]:
    """The uploads with these ids. Makes those that are missing; their events will fill them."""
    found: list[StoredUpload] = []
    missing = sorted(ids)
    for part in _parts(missing):
        found.extend(_select(connection, uploads.c.id.in_(part)))
    missing = sorted(set(ids) - {upload.id for upload in found})
    if missing:
        stubs = [{"id": upload_id, "first_seen_at": now} for upload_id in missing]
        connection.execute(insert_or_ignore(connection, uploads), stubs)
    for part in _parts(missing):
        found.extend(_select(connection, uploads.c.id.in_(part)))
    return found


def uploads_by_number(connection: Connection, numbers: Collection[int]) -> list[StoredUpload]:
    """The uploads with these numbers."""
    return [upload for part in _parts(sorted(numbers)) for upload in _select(connection, uploads.c.no.in_(part))]


def _parts(keys: list[K]) -> Iterable[list[K]]:
    return (keys[start : start + UPLOADS_PER_QUERY] for start in range(0, len(keys), UPLOADS_PER_QUERY))


def _select(connection: Connection, condition: Any) -> list[StoredUpload]:
    query = select(uploads).where(condition)
    return [StoredUpload(**row._mapping) for row in connection.execute(query)]


def save_facts(connection: Connection, old: StoredUpload, new: StoredUpload) -> None:
    """Writes the columns in which the two differ."""
    changed = {name: getattr(new, name) for name in _COLUMNS if getattr(new, name) != getattr(old, name)}
    if changed:
        connection.execute(update(uploads).where(uploads.c.no == old.no).values(**changed))


def add_counts(connection: Connection, upload_no: int, changes: UploadChanges) -> StoredUpload:
    """Adds the counts of a transaction, makes a new version, and returns the upload with the counts of all commits."""
    settled = changes.settled_at
    statement = (
        update(uploads)
        .where(uploads.c.no == upload_no)
        .values(
            version=uploads.c.version + 1,
            calls=uploads.c.calls + changes.calls,
            retries=uploads.c.retries + changes.retries,
            last_settled_at=_newest(settled) if settled else uploads.c.last_settled_at,
            **{state.name: uploads.c[state.name] + changes.states[state] for state in State},
        )
        .returning(uploads)
    )
    return StoredUpload(**connection.execute(statement).one()._mapping)


def _newest(micros: int) -> Any:
    moment = literal(from_micros(micros), Instant())
    column = uploads.c.last_settled_at
    return case((column > moment, column), else_=moment)


def add_tallies(connection: Connection, upload_no: int, changes: UploadChanges) -> None:
    """Adds to the tallies of answered rows."""
    values = [
        {"upload_no": upload_no, "verdict": verdict, "line_type": line_type, "n": count}
        for (verdict, line_type), count in sorted(changes.tallies.items())
        if count
    ]
    if values:
        keys = ("upload_no", "verdict", "line_type")
        connection.execute(upsert_adding(connection, tallies, keys=keys, add="n"), values)


def note_changed_rows(connection: Connection, upload_no: int, version: int, changes: UploadChanges) -> None:
    """Stores the rows that this version changed in the upload's ring."""
    if not changes.rows:
        return
    statement = upsert(connection, row_changes, keys=("upload_no", "slot"), replace=("seq", "rows", "more"))
    numbers = json.dumps(sorted(changes.rows), separators=(",", ":"))
    connection.execute(
        statement,
        {
            "upload_no": upload_no,
            "slot": version % HELD_VERSIONS,
            "seq": version,
            "rows": numbers,
            "more": changes.more,
        },
    )


def add_audit(connection: Connection, entries: Sequence[AuditEntry]) -> None:
    """Stores audit entries."""
    if entries:
        # A column collection iterates over columns, not names.
        values = [{name: getattr(entry, name) for name in audit.c.keys()} for entry in entries]  # noqa: SIM118
        connection.execute(insert_or_ignore(connection, audit), values)


def tallies_of(connection: Connection, upload_no: int) -> Iterable[tuple[str, str, int]]:
    """Verdict, line type and number of answered rows."""
    query = select(tallies.c.verdict, tallies.c.line_type, tallies.c.n).where(
        tallies.c.upload_no == upload_no, tallies.c.n > 0
    )
    return [tuple(row) for row in connection.execute(query)]


def save_missing_rows(connection: Connection, upload_no: int) -> None:
    """Marks an upload as lacking rows that will not come."""
    connection.execute(update(uploads).where(uploads.c.no == upload_no).values(rows_missing=True))

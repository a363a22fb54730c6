"""Owns the reads of the join alone: uploads to publish, to sweep or to end, and rows to publish again."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, bindparam, distinct, func, select, update

from schemas.uploads import UNFINISHED
from services.assembler.domain.positions import Offsets
from services.assembler.domain.row_state import State
from services.assembler.domain.stored import StoredUpload
from services.assembler.store.dialect import by_index
from services.assembler.store.tables import fences, is_open, rows, uploads

_ALIVE = (uploads.c.created_at.is_not(None), uploads.c.deleted_at.is_(None), uploads.c.refused.is_(None))
_WAITING = (uploads.c.waiting > 0, uploads.c.wanted_at.is_not(None), uploads.c.cancelled_at.is_(None))
_STORED = uploads.c.waiting + uploads.c.answered + uploads.c.failed + uploads.c.rejected + uploads.c.unprocessed


_MARK = (
    update(uploads)
    .where(uploads.c.no == bindparam("_no"), uploads.c.published_version < bindparam("_version"))
    .values(published_version=bindparam("_version"))
)


class WaitingRow(NamedTuple):
    """A row that waits for a result. `cells` is JSON."""

    row: int
    line: int | None
    phone: str
    cells: str


def changed_uploads(connection: Connection, partitions: Collection[int], *, limit: int = 500) -> list[StoredUpload]:
    """Uploads whose newest version has not been published, of these partitions of `upload-events`."""
    query = select(uploads).where(
        uploads.c.published_version < uploads.c.version, uploads.c.partition.in_(list(partitions))
    )
    return [StoredUpload(**row._mapping) for row in connection.execute(query.limit(limit))]


def unfinished_uploads(connection: Connection, partitions: Collection[int]) -> list[StoredUpload]:
    """Uploads that are not finished, of these partitions of `upload-events`."""
    query = select(uploads).where(
        uploads.c.state.in_(UNFINISHED),
        uploads.c.created_at.is_not(None),
        uploads.c.deleted_at.is_(None),
        uploads.c.partition.in_(list(partitions)),
    )
    return [StoredUpload(**row._mapping) for row in connection.execute(query)]


def mark_progress_published(connection: Connection, versions: Mapping[int, int]) -> None:
    """Marks the progress of these uploads (by number) as published up to these versions."""
    connection.execute(_MARK, [{"_no": no, "_version": version} for no, version in versions.items()])


def waiting_uploads(connection: Connection) -> list[StoredUpload]:
    """Started uploads of all partitions with waiting rows."""
    return _select(connection, *_WAITING)


def retried_uploads(connection: Connection, partitions: Collection[int]) -> list[StoredUpload]:
    """Uploads of these partitions with waiting rows, whose failed rows were retried at some time."""
    return _select(
        connection,
        *_WAITING,
        uploads.c.round > 0,
        uploads.c.partition.in_(list(partitions)),
    )


def uploads_lacking_rows(connection: Connection) -> list[StoredUpload]:
    """Uploads of which fewer rows are stored than were fed, and that are not marked as lacking rows."""
    return _select(connection, uploads.c.fed_rows > _STORED, ~uploads.c.rows_missing)


def _select(connection: Connection, *conditions: ColumnElement[bool]) -> list[StoredUpload]:
    query = select(uploads).where(*_ALIVE, *conditions).order_by(uploads.c.no)
    return [StoredUpload(**row._mapping) for row in connection.execute(query)]


def waiting_rows(
    connection: Connection, upload_no: int, *, below_round: int, after_row: int, limit: int
) -> list[WaitingRow]:
    """The next waiting rows of an upload that were last published in a round below this one, by row number."""
    query = (
        select(*(rows.c[name] for name in WaitingRow._fields))
        .where(rows.c.upload_no == upload_no, rows.c.row > after_row)
        .where(rows.c.state == int(State.waiting), is_open(), rows.c.round < below_round)
        .order_by(rows.c.row)
        .limit(limit)
    )
    query = by_index(query, rows, "rows_open_by_upload")
    return [WaitingRow._make(row) for row in connection.execute(query)]


def all_fences(connection: Connection) -> dict[int, Offsets]:
    """How far every partition number has been joined, by whichever join."""
    columns = [fences.c.partition, *(fences.c[name] for name in Offsets._fields)]
    return {row[0]: Offsets(*row[1:]) for row in connection.execute(select(*columns))}


def count_distinct_phones(connection: Connection, upload_no: int) -> int:
    """How many different phones the rows of an upload have."""
    query = select(func.count(distinct(rows.c.phone))).where(rows.c.upload_no == upload_no)
    return connection.execute(query).scalar_one()

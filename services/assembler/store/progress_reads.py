"""Owns the reads behind `upload-progress`, and the mark of what was published."""

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, bindparam, select, update

from services.assembler.domain.stored import StoredUpload
from services.assembler.store.reads import UNFINISHED
from services.assembler.store.tables import uploads

_MARK = (
    update(uploads)
    .where(uploads.c.no == bindparam("_no"), uploads.c.published_version < bindparam("_version"))
    .values(published_version=bindparam("_version"))
)


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
    """Kafka has the progress of these uploads (by number) up to these versions."""
    connection.execute(_MARK, [{"_no": no, "_version": version} for no, version in versions.items()])

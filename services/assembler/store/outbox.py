"""Owns the outbox: writes completion events with the change that ends a round, and reads those to be published."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from datetime import datetime

from sqlalchemy import Connection, select, update

from schemas.ids import completion_id
from schemas.uploads import FINISHED
from services.assembler.domain.lifecycle import Announced
from services.assembler.domain.stored import StoredUpload
from services.assembler.store.dialect import insert_or_ignore
from services.assembler.store.tables import outbox, uploads


@dataclass(frozen=True, slots=True)
class Completion:
    """A completion event: `id` is its `ce_id`, `type` its `ce_type`, `value` the upload as JSON."""

    id: str
    upload_id: str
    type: str
    at: datetime
    value: bytes


_COLUMNS = tuple(outbox.c[field.name] for field in fields(Completion))


def add_completion(connection: Connection, upload: StoredUpload, *, at: datetime, value: bytes) -> None:
    """Writes the completion event of the upload's present round, which ended at this time, unless it has one."""
    values = {
        "id": completion_id(upload.id, upload.round),
        "upload_id": upload.id,
        "type": type_of(upload.state),
        "at": at,
        "value": value,
    }
    connection.execute(insert_or_ignore(connection, outbox), values)


def unpublished(connection: Connection, partitions: Collection[int], *, limit: int = 100) -> list[Completion]:
    """Completion events that were not marked as published, of uploads whose events lie on these partitions."""
    query = (
        select(*_COLUMNS)
        .join(uploads, uploads.c.id == outbox.c.upload_id)
        .where(~outbox.c.published, uploads.c.partition.in_(list(partitions)))
        .limit(limit)
    )
    return [Completion(**row._mapping) for row in connection.execute(query)]


def type_of(state: str) -> str:
    """The `ce_type` of an upload that ended in this state."""
    return f"phone-scrubber.upload.{state}.v1"


def announced_end(connection: Connection, upload: StoredUpload) -> Announced | None:
    """How the upload's present round ended, if its completion event was written."""
    query = select(outbox.c.type, outbox.c.at).where(outbox.c.id == completion_id(upload.id, upload.round))
    found = connection.execute(query).first()
    states = [state for state in FINISHED if found is not None and found[0] == type_of(state)]
    return Announced(states[0], found[1]) if found is not None and states else None


def mark_published(connection: Connection, ids: Sequence[str]) -> None:
    """Marks events that Kafka has acknowledged."""
    connection.execute(update(outbox).where(outbox.c.id.in_(list(ids))).values(published=True))


def remember_published(connection: Connection, completions: Sequence[Completion]) -> None:
    """Stores events that an earlier database published, so that they are not published again."""
    if completions:
        values = [
            {"id": c.id, "upload_id": c.upload_id, "type": c.type, "at": c.at, "value": c.value, "published": True}
            for c in completions
        ]
        connection.execute(insert_or_ignore(connection, outbox), values)

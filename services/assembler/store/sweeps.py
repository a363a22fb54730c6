"""Owns the requests for a sweep: a person's request goes in by status, its figures by the join that does it.

A request is no state of the system: losing one loses nothing, the join sweeps each minute anyway. That is why it may
pass through SQL, while everything that changes an upload goes through Kafka.
"""

from datetime import datetime
from uuid import uuid4

from sqlalchemy import Connection, insert, select, update

from schemas.interface import Sweep
from services.assembler.store.records import SweepRecord
from services.assembler.store.tables import sweeps


def request_sweep(connection: Connection, *, by: str, now: datetime) -> str:
    """Asks for a sweep; returns its id for `get_sweep`. Needs a writing transaction."""
    sweep_id = str(uuid4())
    connection.execute(insert(sweeps).values(id=sweep_id, requested_at=now, by=by))
    return sweep_id


def get_sweep(connection: Connection, sweep_id: str) -> SweepRecord | None:
    """A sweep that was asked for; its figures are None until it is done."""
    columns = [column for column in sweeps.c if column.name != "by"]
    found = connection.execute(select(*columns).where(sweeps.c.id == sweep_id)).first()
    return None if found is None else SweepRecord(**found._mapping)


def open_requests(connection: Connection) -> list[str]:
    """Requests that no sweep has answered yet, oldest first."""
    query = select(sweeps.c.id).where(sweeps.c.finished_at.is_(None)).order_by(sweeps.c.requested_at)
    return list(connection.execute(query).scalars())


def answer_requests(connection: Connection, ids: list[str], outcome: Sweep | str, *, now: datetime) -> None:
    """Stores what a sweep did, or the sentence that says why it could not be done."""
    figures = {"problem": outcome} if isinstance(outcome, str) else outcome.model_dump()
    connection.execute(update(sweeps).where(sweeps.c.id.in_(ids)).values(finished_at=now, **figures))

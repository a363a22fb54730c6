"""Owns the requests for a sweep, as they were read from the log, and the figures of the sweep that answered them."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, select, update

from schemas.interface import Sweep
from services.assembler.domain.stored import StoredSweep
from services.assembler.store.dialect import insert_or_ignore
from services.assembler.store.tables import sweeps

WAITED_FOR = timedelta(minutes=10)
"""Older requests are not answered: a rebuilt database need not sweep for each request of the last weeks."""


def request_sweep(connection: Connection, sweep_id: str, *, by: str, at: datetime) -> None:
    """Stores a request for a sweep; `get_sweep` gives its outcome by this id."""
    connection.execute(insert_or_ignore(connection, sweeps).values(id=sweep_id, requested_at=at, by=by))


def get_sweep(connection: Connection, sweep_id: str) -> StoredSweep | None:
    """A requested sweep; its figures are None until it is done."""
    columns = [column for column in sweeps.c if column.name != "by"]
    found = connection.execute(select(*columns).where(sweeps.c.id == sweep_id)).first()
    return None if found is None else StoredSweep(**found._mapping)


def open_requests(connection: Connection, *, now: datetime) -> list[str]:
    """Requests of the last `WAITED_FOR` that no sweep has answered, oldest first."""
    waited_for = (sweeps.c.finished_at.is_(None), sweeps.c.requested_at >= now - WAITED_FOR)
    return list(connection.execute(select(sweeps.c.id).where(*waited_for).order_by(sweeps.c.requested_at)).scalars())


def answer_requests(connection: Connection, ids: list[str], outcome: Sweep | str, *, now: datetime) -> None:
    """Stores the figures of a sweep, or the sentence that says why it was not possible."""
    figures = {"problem": outcome} if isinstance(outcome, str) else outcome.model_dump()
    connection.execute(update(sweeps).where(sweeps.c.id.in_(ids)).values(finished_at=now, **figures))

"""Reads SQL off the event loop, each query in one snapshot."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from services.assembler.store.connections import Connection, DatabaseUnavailable, Engine, reading
from services.runtime.problems import ProblemError

T = TypeVar("T")


class DatabaseReader:
    """The join's database, which the status role only reads. `epoch`: the database's id; a rebuilt one has another."""

    def __init__(self, engine: Engine, *, epoch: str) -> None:
        self._engine = engine
        self.epoch = epoch

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Runs a query of the store in a thread, in one snapshot.

        Raises:
            ProblemError: 503 while the database does not answer.
        """
        try:
            return await asyncio.to_thread(self._read, query)
        except DatabaseUnavailable:
            raise ProblemError(
                503,
                "database-not-available",
                "The database does not answer",
                "Uploads are still being processed. Ask again in a moment.",
                headers={"Retry-After": "2"},
            ) from None

    def _read(self, query: Callable[[Connection], T]) -> T:
        with reading(self._engine) as connection:
            return query(connection)

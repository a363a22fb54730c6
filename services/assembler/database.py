"""Owns the thread in which a process uses SQL, so that neither the event loop nor Kafka's heartbeats wait for it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from sqlalchemy import Connection, Engine

from services.assembler.store.dialect import for_writing

P = ParamSpec("P")
T = TypeVar("T")


class Database:
    """One engine, used by one thread: calls run one after the other, in the order in which they were made."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._writing = for_writing(engine)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sql")

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs work that opens its own transactions. Once begun it ends, even if the caller is cancelled."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(*args, **kwargs))

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Runs a read in one snapshot."""
        return await self.run(self._in_snapshot, work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Runs work in one transaction of its own."""
        return await self.run(self._in_transaction, work)

    def close(self) -> None:
        """Waits for what runs, then lets go of everything."""
        self._thread.shutdown(wait=True)
        self.engine.dispose()

    def _in_snapshot(self, work: Callable[[Connection], T]) -> T:
        with self.engine.connect() as connection:
            return work(connection)

    def _in_transaction(self, work: Callable[[Connection], T]) -> T:
        with self._writing.begin() as connection:
            return work(connection)

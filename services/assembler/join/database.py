"""Owns the thread in which a process uses SQL, so that neither the event loop nor Kafka's heartbeats wait for it."""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, ParamSpec, TypeVar

from services.assembler.store.connections import Connection, Engine
from services.assembler.store.dialect import for_writing

P = ParamSpec("P")
T = TypeVar("T")
SILENT_SECONDS = 900.0
"""Three times the time limit of a statement. Work that takes longer will never end: the database does not answer."""
CLOSE_SECONDS = 5.0
log = logging.getLogger(__name__)


class DatabaseSilent(Exception):
    """The database does not answer: the process must be started again."""


class Database:
    """One engine, used by one thread: calls run one after the other, in the order in which they were made.

    The thread does not keep the process alive, since nothing can end a thread that waits for a silent database.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._writing = for_writing(engine)
        self._work: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._began_at: float | None = None
        self._thread = threading.Thread(target=self._run_all, name="sql", daemon=True)
        self._thread.start()

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs work with transactions of its own. Work that has begun ends, even if its caller is cancelled."""
        future: Future[T] = Future()
        self._work.put((future, lambda: work(*args, **kwargs)))
        return await asyncio.wrap_future(future)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Runs a read in one snapshot."""
        return await self.run(self._in_snapshot, work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Runs work in one transaction of its own."""
        return await self.run(self._in_transaction, work)

    def busy_seconds(self) -> float:
        """How long the present work has been running; 0 when there is none."""
        began_at = self._began_at
        return 0.0 if began_at is None else time.monotonic() - began_at

    async def watch(self, *, every_seconds: float = 5.0) -> None:
        """Watches until cancelled.

        Raises:
            DatabaseSilent: the database has not answered for `SILENT_SECONDS`.
        """
        while True:
            await asyncio.sleep(every_seconds)
            if self.busy_seconds() > SILENT_SECONDS:
                raise DatabaseSilent(f"the database has not answered for {SILENT_SECONDS:.0f} s")

    def close(self) -> None:
        """Waits some seconds for the present work, then closes all connections."""
        self._work.put(None)
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            log.error("the database does not answer; it has to end the last transaction by itself")
        else:
            self.engine.dispose()

    def _run_all(self) -> None:
        while (item := self._work.get()) is not None:
            future, work = item
            if future.set_running_or_notify_cancel():
                self._began_at = time.monotonic()
                _run(future, work)
                self._began_at = None

    def _in_snapshot(self, work: Callable[[Connection], T]) -> T:
        with self.engine.connect() as connection:
            return work(connection)

    def _in_transaction(self, work: Callable[[Connection], T]) -> T:
        with self._writing.begin() as connection:
            return work(connection)


def _run(future: Future[T], work: Callable[[], T]) -> None:
    try:
        result = work()
    except StopIteration as error:
        # A future of asyncio refuses StopIteration, and the caller would wait without end.
        failure = RuntimeError("an iterator of the work ended early")
        failure.__cause__ = error
        future.set_exception(failure)
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)

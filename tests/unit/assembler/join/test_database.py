"""The thread in which a process uses SQL: whatever the work does, whoever waits for it learns of it."""

import asyncio
import threading

import pytest

from services.assembler.join import database as module
from services.assembler.join.database import Database, DatabaseSilent
from services.assembler.store.dialect import connect


async def test_work_whose_iterator_ends_early_fails_and_hangs_nobody() -> None:
    """A future refuses a StopIteration: the caller would wait for ever."""
    database = Database(connect("sqlite://"))
    async with asyncio.timeout(10):
        with pytest.raises(RuntimeError, match="ended early"):
            await database.run(lambda: next(iter(())))
        assert await database.run(lambda: 1) == 1
    database.close()


async def test_a_database_that_never_answers_is_noticed_and_keeps_no_process_alive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SILENT_SECONDS", 0.05)
    monkeypatch.setattr(module, "CLOSE_SECONDS", 0.05)
    database, released = Database(connect("sqlite://")), threading.Event()
    work = asyncio.create_task(database.run(released.wait))
    async with asyncio.timeout(10):
        with pytest.raises(DatabaseSilent, match="has not answered"):
            await database.watch(every_seconds=0.01)
    assert database.busy_seconds() > 0
    database.close()
    assert not work.done()
    released.set()
    await work
    database.engine.dispose()


async def test_a_database_that_answers_is_let_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENT_SECONDS", 30.0)
    database = Database(connect("sqlite://"))
    watching = asyncio.create_task(database.watch(every_seconds=0.001))
    for _ in range(100):
        await database.run(lambda: None)
    assert database.busy_seconds() == 0
    assert not watching.done()
    watching.cancel()
    database.close()

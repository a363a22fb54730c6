"""The join's consumer while partitions move: whatever it takes from Kafka is joined, or comes again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from schemas.settings import Settings
from services.assembler import intake as intake_module
from services.assembler.database import Database
from services.assembler.intake import Intake
from services.assembler.joining.transaction import Joiner
from services.assembler.store.dialect import connect
from services.assembler.store.meta import prepare
from tests.integration.join_stage import on_stage, until


@asynccontextmanager
async def started_intake(settings: Settings) -> AsyncIterator[Intake]:
    database = Database(connect(settings.database_url))
    await database.run(prepare, database.engine)
    intake = Intake(settings, database, Joiner(database.engine, settings))
    await intake.start()
    try:
        yield intake
    finally:
        await intake.consumer.stop()
        database.close()


async def owns(intake: Intake, count: int) -> None:
    async def reached() -> bool:
        return len(intake.partitions) == count

    await until(reached, lambda: f"{count} partitions are owned; they are {intake.partitions}")


async def test_a_record_that_comes_while_partitions_move_is_not_passed_over(
    broker: str, topics: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fetch that began before a rebalance and ends after it brings records of the new assignment."""
    monkeypatch.setattr(intake_module, "POLL_MS", 60_000)
    async with on_stage(broker, topics, tmp_path) as stage, started_intake(stage.settings) as first:
        await owns(first, 4)
        waiting = asyncio.create_task(first.records())
        async with started_intake(stage.settings) as second:
            await owns(second, 2)
            await owns(first, 2)
            for _ in range(32):
                await stage.open()
            generation, records = await waiting
            assert first.is_current(generation)
            assert set(records) <= set(first.partitions)
            assert any(records.values())

"""The join's consumer while partitions move: whatever it takes from Kafka is joined, or comes again."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from schemas import topics as registry
from schemas.codec import decode
from schemas.rows import UploadRow
from schemas.settings import Settings
from schemas.upload_events import RetryFailed
from services.assembler.join.batches import Batches
from services.assembler.join.consumer import JoinConsumer
from services.assembler.join.database import Database
from services.assembler.join.republishing import Republisher, RoundPublisher
from services.assembler.join.sending import ShorteningSender
from services.assembler.join.transaction.transaction import Joiner
from services.assembler.store.dialect import connect
from services.assembler.store.meta import prepare
from services.runtime.kafka import topic_name
from tests.fixtures.ids import upload_id
from tests.integration.join_stage import Stage, on_stage, phone
from tests.support.waiting import eventually

Place = tuple[str, int, int]
"""A record's topic, partition and offset."""


@asynccontextmanager
async def started_intake(settings: Settings) -> AsyncIterator[JoinConsumer]:
    database = Database(connect(settings.database_url))
    await database.run(prepare, database.engine)
    intake = JoinConsumer(settings, database, take_over=Joiner(database.engine, settings).take_over)
    await intake.start()
    try:
        yield intake
    finally:
        await intake.consumer.stop()
        database.close()


async def owns(intake: JoinConsumer, count: int) -> None:
    async def reached() -> bool:
        return len(intake.partitions) == count

    await eventually(reached, what=lambda: f"{count} partitions to be owned; they are {intake.partitions}")


@asynccontextmanager
async def reading(intake: JoinConsumer) -> AsyncIterator[set[Place]]:
    """Fetches all the time; the places of what came, each of the assignment of its moment."""
    taken: set[Place] = set()

    async def fetch() -> None:
        while True:
            generation, records = await intake.records()
            assert intake.is_current(generation) or not records
            assert set(records) <= set(intake.partitions)
            for batch in (batch for by_topic in records.values() for batch in by_topic.values()):
                taken.update((record.topic, record.partition, record.offset) for record in batch)

    task = asyncio.create_task(fetch())
    try:
        yield taken
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()


async def test_a_record_that_comes_while_partitions_move_is_not_passed_over(
    broker: str, topics: str, tmp_path: Path
) -> None:
    async with (
        on_stage(broker, topics, tmp_path) as stage,
        started_intake(stage.settings) as first,
        reading(first) as by_first,
    ):
        await owns(first, 4)
        for _ in range(16):
            await stage.open()
        async with started_intake(stage.settings) as second, reading(second) as by_second:
            for _ in range(16):
                await stage.open()
            await owns(second, 2)
            await owns(first, 2)
            for _ in range(16):
                await stage.open()

            async def all_came() -> bool:
                return len(by_first | by_second) == 48

            await eventually(all_came, what=lambda: f"48 events to come; {len(by_first)} and {len(by_second)} did")


async def test_a_rebalance_does_not_wait_for_the_database(broker: str, topics: str, tmp_path: Path) -> None:
    """The client sends no heartbeat meanwhile: it would lose the partitions again, for ever."""
    released = threading.Event()
    async with on_stage(broker, topics, tmp_path) as stage, started_intake(stage.settings) as intake:
        async with reading(intake):
            await owns(intake, 4)
        busy = asyncio.create_task(intake.database.run(released.wait))
        try:
            async with asyncio.timeout(10):
                await intake.on_partitions_assigned(intake.consumer.assignment())
            assert not intake.partitions
        finally:
            released.set()
            await busy
        async with reading(intake):
            await owns(intake, 4)


async def test_ends_whose_records_are_gone_are_stepped_over_in_sql(broker: str, topics: str, tmp_path: Path) -> None:
    """Other joins, rounds and sweeps wait until SQL says that all was read."""
    async with on_stage(broker, topics, tmp_path) as stage:
        for number in range(8):
            await stage.rows(upload_id("u1"), {number + 1: phone(number)})
        admin = AIOKafkaAdminClient(bootstrap_servers=stage.settings.kafka)
        await admin.start()
        rows = topic_name(registry.UPLOAD_ROWS, stage.settings)
        # A negative offset stands for the log's end.
        await admin.delete_records({TopicPartition(rows, n): RecordsToDelete(before_offset=-1) for n in range(4)})
        await admin.close()
        async with started_intake(stage.settings) as intake:
            async with reading(intake) as taken:
                await owns(intake, 4)
            assert not taken
            assert not await intake.everything_joined()
            gaps = await intake.gaps()
            await intake.database.run(Joiner(intake.database.engine, stage.settings).join, gaps)
            assert await intake.everything_joined()


async def join_own(intake: JoinConsumer, stage: Stage) -> None:
    """Joins what there is on the partitions of this intake."""
    joiner = Joiner(intake.database.engine, stage.settings)
    batches = Batches(intake.database, joiner, stage.producer, stage.settings, intake)
    while not intake.caught_up:
        generation, records = await intake.records()
        await batches.join(generation, records)


async def test_a_round_is_not_published_again_while_another_join_has_yet_to_read_it(
    broker: str, topics: str, tmp_path: Path
) -> None:
    async with (
        on_stage(broker, topics, tmp_path) as stage,
        started_intake(stage.settings) as first,
        ShorteningSender(stage.settings) as sender,
    ):
        upload = await stage.open()
        phones = {number: phone(number) for number in range(1, 33)}
        await stage.rows(upload, phones)
        await stage.results(phones.values(), (upload, 0), outcome="failed")
        await stage.event(RetryFailed(upload_id=upload, at=datetime.now(UTC), by="jane", round=1))
        await join_own(first, stage)
        await stage.rows(upload, phones, round_=1)
        republisher = Republisher(first.database, sender, stage.settings)
        rounds = RoundPublisher(
            first.database, republisher, partitions=lambda: range(4), everything_joined=first.everything_joined
        )
        async with started_intake(stage.settings) as second:
            async with reading(first), reading(second):
                await owns(second, 2)
                await owns(first, 2)
            first.take_over_again()
            second.take_over_again()
            await join_own(first, stage)
            assert first.caught_up
            await rounds.look()
            assert not await first.everything_joined()
            await join_own(second, stage)
            assert await first.everything_joined()
            await rounds.look()
        published = [decode(UploadRow, record.value) for record in await stage.read(registry.UPLOAD_ROWS)]
        assert len(published) == 64, "each row once in each round"

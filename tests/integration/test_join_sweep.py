"""The sweep on a real broker: it publishes again what nobody looks up, leaves alone what somebody does, and counts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from schemas import groups
from schemas import topics as registry
from schemas.codec import decode
from schemas.interface import Sweep, Upload
from schemas.lookups import LookupRequest
from schemas.rows import UploadRow
from schemas.topics import Topic
from schemas.upload_events import OperatorActed
from services.assembler.domain.stored import StoredSweep
from services.assembler.join.sweep import LOOK_SECONDS, PATIENCE_SECONDS
from services.assembler.status.operations.queue_control import SWEEP_SECONDS
from services.assembler.store.dialect import connect
from services.assembler.store.sweeps import get_sweep
from services.runtime.kafka import make_consumer, partitions_of, started, topic_name
from tests.integration.join_stage import Stage, on_stage, phone, running_join
from tests.support.waiting import eventually
from tests.unit.assembler.join.join_log import gate_status


class Others:
    """What worker and gate would say of themselves."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    async def worker_read_all_rows(self) -> None:
        """Commits the ends of `upload-rows` in the worker's group."""
        async with started(make_consumer(self.stage.settings, group=groups.WORKER)) as consumer:
            partitions = await partitions_of(consumer, topic_name(registry.UPLOAD_ROWS, self.stage.settings))
            consumer.assign(partitions)
            ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
            await consumer.commit(ends)

    async def gate_holds(self, *upload_ids: str, folded_offset: int = 0) -> None:
        lanes = [(upload_id, 1, 0, 0) for upload_id in upload_ids]
        status = gate_status(*lanes, at=datetime.now(UTC), folded_offset=folded_offset)
        await self.stage.write(registry.LOOKUP_STATUS, "0", status)


async def ask_for_sweep(stage: Stage) -> StoredSweep:
    """Asks as status does, and waits for the answer."""
    sweep_id = str(uuid4())
    await stage.event(OperatorActed(at=datetime.now(UTC), by="jane", action="sweep", sweep_id=sweep_id))
    engine = connect(stage.settings.database_url)
    answers: list[StoredSweep] = []

    async def answered() -> bool:
        with engine.connect() as connection:
            record = get_sweep(connection, sweep_id)
        answers[:] = [record] if record is not None and record.finished_at is not None else []
        return bool(answers)

    await eventually(answered, what="the sweep to be answered")
    engine.dispose()
    return answers[0]


def figures(record: StoredSweep) -> Sweep:
    assert record.problem is None
    return Sweep.model_validate(record, from_attributes=True)


async def end_a_transaction(stage: Stage, topic: Topic) -> None:
    """Writes, to each partition, a record that nobody can read, in a transaction; Kafka ends it with a marker."""
    name = topic_name(topic, stage.settings)
    producer = AIOKafkaProducer(bootstrap_servers=stage.settings.kafka, transactional_id=f"{name}-{uuid4()}")
    async with started(producer):
        partitions = await producer.partitions_for(name)
        async with producer.transaction():
            for partition in partitions:
                await producer.send_and_wait(name, b"", partition=partition)


async def published_again(stage: Stage) -> list[tuple[str, int]]:
    rows = [decode(UploadRow, record.value) for record in await stage.read(registry.UPLOAD_ROWS)]
    return sorted((row.upload_id, row.row) for row in rows if row.again)


@asynccontextmanager
async def swept_stage(broker: str, prefix: str, data: Path) -> AsyncIterator[tuple[Stage, Others]]:
    async with on_stage(broker, prefix, data) as stage, running_join(stage.settings):
        yield stage, Others(stage)


async def test_rows_that_nobody_looks_up_are_published_again(broker: str, topics: str, tmp_path: Path) -> None:
    async with swept_stage(broker, topics, tmp_path) as (stage, others):
        stuck, held, done = await stage.open(), await stage.open(), await stage.open()
        await stage.rows(stuck, {1: phone(1), 2: phone(2)})
        await stage.rows(held, {1: phone(3)})
        await stage.rows(done, {1: phone(4)})
        await stage.result(phone(4), (done, 0))
        await stage.fed(done, 1)
        await stage.until_completed(done)
        await stage.until_state(held, "in_progress")
        await stage.until_state(stuck, "in_progress")
        await others.worker_read_all_rows()
        await others.gate_holds(held)
        record = await ask_for_sweep(stage)
        assert figures(record) == Sweep(examined=3, republished=2, completed=0, failed=0)
        assert await published_again(stage) == [(stuck, 1), (stuck, 2)]


async def test_a_sweep_does_not_wait_for_the_ends_of_transactions(broker: str, topics: str, tmp_path: Path) -> None:
    """Another system's producer may use them; each takes an offset that brings no record."""
    async with swept_stage(broker, topics, tmp_path) as (stage, others):
        stuck = await stage.open()
        await stage.rows(stuck, {1: phone(1)})
        await stage.until_state(stuck, "in_progress")
        await end_a_transaction(stage, registry.UPLOAD_EVENTS)
        await others.worker_read_all_rows()
        await others.gate_holds()
        record = await ask_for_sweep(stage)
        assert figures(record) == Sweep(examined=1, republished=1, completed=0, failed=0)


async def test_a_status_of_a_clock_that_was_ahead_is_outdone_by_the_next(
    broker: str, topics: str, tmp_path: Path
) -> None:
    async with swept_stage(broker, topics, tmp_path) as (stage, others):
        stuck = await stage.open()
        await stage.rows(stuck, {1: phone(1)})
        await stage.until_state(stuck, "in_progress")
        ahead = gate_status((stuck, 1, 0, 0), at=datetime.now(UTC) + timedelta(hours=20), folded_offset=0)
        await stage.write(registry.LOOKUP_STATUS, "1", ahead)
        await others.worker_read_all_rows()
        await others.gate_holds()
        record = await ask_for_sweep(stage)
        assert figures(record) == Sweep(examined=1, republished=1, completed=0, failed=0)


async def test_a_sweep_waits_for_the_gate_to_take_up_all_requests(broker: str, topics: str, tmp_path: Path) -> None:
    async with swept_stage(broker, topics, tmp_path) as (stage, others):
        upload_id = await stage.open()
        await stage.rows(upload_id, {1: phone(1)})
        await stage.until_state(upload_id, "in_progress")
        now = datetime.now(UTC)
        request = LookupRequest(
            phone=phone(1),
            upload_id=upload_id,
            round=0,
            owner="jane",
            priority=3,
            wanted_at=now,
            accept_since=now,
        )
        await stage.write(registry.LOOKUP_REQUESTS, request.key, request)
        await others.worker_read_all_rows()
        # A status from before the request: taking it at its word would call the row a zombie.
        await others.gate_holds()
        await stage.event(OperatorActed(at=now, by="jane", action="sweep", sweep_id="s-1"))
        engine = connect(stage.settings.database_url)
        await others.gate_holds(upload_id, folded_offset=1)

        async def answered() -> bool:
            with engine.connect() as connection:
                record = get_sweep(connection, "s-1")
            return record is not None and record.republished == 0 and record.problem is None

        await eventually(answered, what="the sweep to find nothing to publish again")
        engine.dispose()
        assert await published_again(stage) == []


async def test_whoever_asks_is_told_in_time_which_part_does_not_get_on(
    broker: str, topics: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.assembler.join.sweep.PATIENCE_SECONDS", 1.0)
    async with swept_stage(broker, topics, tmp_path) as (stage, _):
        upload_id = await stage.open()
        await stage.rows(upload_id, {1: phone(1)})
        await stage.until_state(upload_id, "in_progress")
        record = await ask_for_sweep(stage)
        assert record.problem == "The lookup worker has not read all rows."


def test_two_sweeps_fit_into_the_minute_that_somebody_waits() -> None:
    """The one under way when somebody asks, and the one asked for; ten seconds are left to connect and to publish."""
    assert 2 * PATIENCE_SECONDS + 2 * LOOK_SECONDS < SWEEP_SECONDS - 10


async def test_an_upload_that_lacks_rows_ends_as_failed(
    broker: str, topics: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.assembler.domain.zombies.PATIENCE", datetime.now(UTC) - datetime.now(UTC))
    async with swept_stage(broker, topics, tmp_path) as (stage, _):
        lacking, complete = await stage.open(), await stage.open()
        for upload_id in (lacking, complete):
            await stage.rows(upload_id, {1: phone(1), 2: phone(1)})
        await stage.result(phone(1), (lacking, 0), (complete, 0))
        await stage.fed(lacking, 3)
        await stage.fed(complete, 2)
        await stage.until_completed(complete)
        await stage.until_state(lacking, "in_progress")
        await ask_for_sweep(stage)
        (event,) = await stage.until_completed(lacking)
        upload = decode(Upload, event.value)
        assert dict(event.headers)["ce_type"] == b"phone-scrubber.upload.failed.v1"
        assert upload.error is not None
        assert upload.error.code == "rows-missing"
        assert (upload.counts.rows, upload.counts.answered, upload.counts.unprocessed) == (3, 2, 1)

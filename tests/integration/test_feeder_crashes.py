"""Feeders that die or share the work: no row is lost, and what is repeated is exactly a repetition."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from schemas import topics as registry
from schemas.ids import new_upload_id
from schemas.rows import UploadRow
from schemas.settings import Settings
from schemas.upload_events import UploadFed
from services.ingest.feeder.role import main
from services.ingest.feeder.spool import Spool
from services.ingest.feeder.window import TRANSIT_ROWS
from services.runtime.kafka import topic_name
from services.runtime.partitions import partition_of
from services.runtime.process import RefusedToStart
from tests.integration.ingest_world import World, numbers_file, running, world_of
from tests.support.waiting import eventually

PARTITIONS = 4


@pytest.fixture
def settings(broker: str, topics: str, tmp_path: Path) -> Settings:
    return Settings(kafka=broker, topic_prefix=topics, data=tmp_path, partitions=PARTITIONS)


@pytest.fixture
async def world(settings: Settings) -> AsyncIterator[World]:
    async with world_of(settings) as world:
        yield world


@asynccontextmanager
async def process(settings: Settings) -> AsyncIterator[asyncio.subprocess.Process]:
    """A feeder as a process of its own, killed at the end of the block."""
    env = {
        **os.environ,
        "SCRUB_KAFKA": settings.kafka,
        "SCRUB_TOPIC_PREFIX": settings.topic_prefix,
        "SCRUB_DATA": str(settings.data),
        "SCRUB_INSTANCE": settings.instance,
    }
    feeder = await asyncio.create_subprocess_exec(sys.executable, "-m", "services.ingest", "feeder", env=env)
    try:
        yield feeder
    finally:
        if feeder.returncode is None:
            feeder.kill()
        await feeder.wait()


def has_rows(world: World, upload: str) -> bool:
    return bool(world.row_numbers(upload)[0])


def has_checkpoint(world: World, upload: str) -> bool:
    found = world.records.get(topic_name(registry.FEED_CHECKPOINTS, world.settings), [])
    return any(record.key == upload.encode() for record in found)


async def test_after_a_kill_in_the_middle_it_goes_on_and_no_row_is_lost(world: World, settings: Settings) -> None:
    rows = TRANSIT_ROWS + 5_000
    async with process(settings) as feeder:
        upload = await world.open(numbers_file(rows, bad_every=7))
        await world.until(lambda: has_checkpoint(world, upload), "a checkpoint")
        await world.until(lambda: sum(map(len, world.row_numbers(upload))) >= TRANSIT_ROWS, "the first rows")
        feeder.send_signal(signal.SIGKILL)
        await feeder.wait()
    assert not world.events(upload, UploadFed)
    async with process(settings):
        await world.report(upload, waiting=TRANSIT_ROWS)
        fed = await world.fed(upload)
    usable, rejected = world.row_numbers(upload)
    assert set(usable) | set(rejected) == set(range(1, rows + 1))
    assert set(rejected) == set(range(7, rows + 1, 7))
    assert (fed.rows, fed.rejected) == (rows, rows // 7)
    by_number: dict[int, UploadRow] = {}
    for row in world.of(registry.UPLOAD_ROWS, upload, UploadRow):
        assert by_number.setdefault(row.row, row) == row


async def test_killed_while_it_reads_the_file_it_reads_it_again(world: World, settings: Settings) -> None:
    async with process(settings) as feeder:
        await world.open(numbers_file(3))
        upload = await world.open(numbers_file(60_000))
        spool = Spool(settings).upload_folder(upload)
        await eventually(spool.exists, what="the spool to appear", pause_seconds=0.005)
        feeder.send_signal(signal.SIGKILL)
        await feeder.wait()
    async with process(settings):
        await world.until(lambda: len(world.row_numbers(upload)[0]) >= TRANSIT_ROWS, "the first rows")
        await world.report(upload, answered=60_000)
        fed = await world.fed(upload)
    assert (fed.rows, fed.rejected) == (60_000, 0)


async def test_two_feeders_share_the_uploads_and_one_takes_over(
    world: World, settings: Settings, tmp_path: Path
) -> None:
    other = settings.model_copy(update={"instance": "2", "data": tmp_path / "other"})
    ids = {partition: upload_on(partition) for partition in range(PARTITIONS)}
    async with running(main, settings):
        async with running(main, other):
            for upload in ids.values():
                await world.open(numbers_file(TRANSIT_ROWS + 10), upload_id=upload)
            for upload in ids.values():
                await world.until(partial(has_rows, world, upload), "rows of each upload")
        for upload in ids.values():
            await world.report(upload, waiting=TRANSIT_ROWS)
        for upload in ids.values():
            fed = await world.fed(upload)
            assert fed.rows == TRANSIT_ROWS + 10
    for upload in ids.values():
        assert set(world.row_numbers(upload)[0]) == set(range(1, TRANSIT_ROWS + 11))


async def test_two_feeders_never_share_a_folder(world: World, settings: Settings) -> None:
    async with running(main, settings):
        await world.fed(await world.open(numbers_file(1)))
        with pytest.raises(RefusedToStart, match="SCRUB_INSTANCE"):
            await main(settings, asyncio.Event())


def upload_on(partition: int) -> str:
    """An upload id that Kafka puts on a partition."""
    number = 0
    while True:
        upload_id = new_upload_id(now_ms=number)
        if partition_of(upload_id.encode(), PARTITIONS) == partition:
            return upload_id
        number += 1

"""The order of effects when rows are fed: published, acknowledged, and only then told of in a checkpoint."""

import random
import time
from dataclasses import replace
from pathlib import Path

import pytest

from schemas import topics as registry
from schemas.settings import Settings
from services.ingest.feeder.feeding import Feed, Outlet, publish
from services.ingest.feeder.preparation.row_file import PreparedReader, PreparedWriter
from services.ingest.feeder.upload_state import FeederUpload, JoinCounts, opened_upload
from services.ingest.sending import RecordTooLarge, Sender
from tests.integration.ingest_world import ends_of, limit_records, now
from tests.unit.ingest.builders import checked, opened

PARTITIONS = 4
ROWS = 10_000
TURN = 2_000


@pytest.fixture
def settings(broker: str, topics: str, tmp_path: Path) -> Settings:
    return Settings(kafka=broker, topic_prefix=topics, data=tmp_path, partitions=PARTITIONS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ordinary rows, every fifth without a phone, and at last one of 400 kB that hardly gets smaller."""
    noise = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=400_000))
    with PreparedWriter(tmp_path) as writer:
        for row in range(1, ROWS + 1):
            phone = f"+1{212 + row % 2}555{row % 10_000:04d}"
            if row % 5:
                writer.usable(row=row, line=row, cells=(phone,), phone=phone)
            else:
                writer.rejected(row=row, line=row, cells=("",), error={"code": "no_phone"})
        writer.usable(row=ROWS + 1, line=ROWS + 1, cells=(noise,), phone="+14155550100")
    return tmp_path


@pytest.fixture
def upload() -> FeederUpload:
    begun = opened_upload(opened(), offset=0)
    return replace(begun, checked=checked(begun.check_id, rows=ROWS + 1))


def outlet_of(sender: Sender, settings: Settings) -> Outlet:
    return Outlet(
        sender=sender,
        settings=settings,
        row_partitions=PARTITIONS,
        upload_partitions=PARTITIONS,
        clock=time.monotonic,
        now=now,
    )


async def rows_in_kafka(settings: Settings) -> int:
    topics = (registry.UPLOAD_ROWS, registry.REJECTED_ROWS)
    return sum([end for topic in topics for end in (await ends_of(topic, settings)).values()])


async def test_what_is_before_the_next_row_is_in_kafka(settings: Settings, folder: Path, upload: FeederUpload) -> None:
    feed = Feed(PreparedReader(folder), rows=ROWS + 1)
    async with Sender(settings) as sender:
        outlet = outlet_of(sender, settings)
        for turn in range(1, ROWS // TURN + 1):
            await publish(feed, upload, JoinCounts(), rows=TURN, outlet=outlet)
            assert feed.fed_rows == TURN * turn == await rows_in_kafka(settings)
        assert feed.rejected == ROWS // 5
        assert not feed.is_done
        await limit_records(settings, registry.UPLOAD_ROWS)
        with pytest.raises(RecordTooLarge):
            await publish(feed, upload, JoinCounts(), rows=TURN, outlet=outlet)
        assert (feed.fed_rows, feed.rejected) == (ROWS, ROWS // 5)
        assert await rows_in_kafka(settings) == ROWS

"""A part tells on a real broker how often it was started and why the process before it ended."""

import pytest

from schemas import topics as registry
from schemas.codec import decode
from schemas.parts import PartStatus
from schemas.settings import Settings
from services.runtime.heartbeat import Heartbeat, PartHealth
from services.runtime.kafka import make_consumer, make_producer, partitions_of, read_to_end, started, topic_name
from tests.support.waiting import eventually

RUNNING = PartHealth(state="running", active=True)


async def signs(settings: Settings) -> list[PartStatus]:
    """All signs of life, in order."""
    async with started(make_consumer(settings)) as consumer:
        partitions = await partitions_of(consumer, topic_name(registry.PART_STATUS, settings))
        consumer.assign(partitions)
        records = [record async for record in read_to_end(consumer, partitions)]
    return [decode(PartStatus, record.value, timestamp_ms=record.timestamp) for record in records]


async def one_life(settings: Settings, *, error: Exception | None) -> None:
    """A process that lives until its first sign is out, and ends by the error if there is one."""
    before = len(await signs(settings))
    async with (
        started(make_producer(settings)) as producer,
        Heartbeat(producer, settings, role="join", health=lambda: RUNNING),
    ):

        async def is_out() -> bool:
            return len(await signs(settings)) > before

        await eventually(is_out, what="the first sign of life", seconds=30)
        if error is not None:
            raise error


async def test_restarts_and_their_reasons_are_told(broker: str, topics: str) -> None:
    settings = Settings(kafka=broker, topic_prefix=topics, instance="7")
    for _ in range(2):
        with pytest.raises(OverflowError):
            await one_life(settings, error=OverflowError("what it says is nobody's business"))
    await one_life(settings, error=None)
    told = await signs(settings)
    first_words = [sign for sign in told if sign.state == "running"]
    assert [len(sign.starts) for sign in first_words] == [1, 2, 3]
    assert [sign.last_end for sign in first_words] == [None, "ended by OverflowError", "ended by OverflowError"]
    assert [sign.error for sign in told if sign.state == "stopping"] == [*["ended by OverflowError"] * 2, None]
    assert not any("nobody" in sign.model_dump_json() for sign in told)

"""A producer that is stopped or replaced leaves nothing behind, whatever its broker does meanwhile."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, OutOfOrderSequenceNumber, ProducerClosed

from deploy.local.broker import free_port, prepare_broker
from deploy.topics import create_topics
from schemas.settings import Settings
from schemas.topics import UPLOAD_ROWS
from services.runtime.kafka import admin_client, make_producer, start_producer, stop_producer
from services.runtime.producers import ReplaceableProducer
from tests.fixtures.broker import PARTITIONS, running
from tests.support.waiting import eventually

DEADLINE_SECONDS = 20


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[tuple[Settings, subprocess.Popen[bytes]]]:
    """A broker that the test may stop as it likes."""
    broker = prepare_broker(tmp_path / "kafka", port=free_port(), say=print)
    with running(broker, tmp_path / "log") as process:
        yield Settings(kafka=broker.address, partitions=PARTITIONS), process
        process.send_signal(signal.SIGCONT)


async def test_a_broker_that_hangs_holds_up_no_stop_and_keeps_no_connection(
    own_broker: tuple[Settings, subprocess.Popen[bytes]],
) -> None:
    settings, process = own_broker
    await create_topics(settings)
    producer = make_producer(settings)
    await start_producer(producer)
    await producer.send_and_wait(UPLOAD_ROWS.name, b"one", partition=0)
    process.send_signal(signal.SIGSTOP)
    waiting = asyncio.create_task(producer.send_and_wait(UPLOAD_ROWS.name, b"two", partition=0))
    await asyncio.wait([waiting], timeout=0)
    async with asyncio.timeout(DEADLINE_SECONDS):
        await stop_producer(producer)
        with pytest.raises(ProducerClosed):
            await waiting
    assert not is_connected(producer)


async def test_a_producer_that_cannot_start_in_time_keeps_no_connection(broker: str, topics: str) -> None:
    for steps in range(20):
        producer = make_producer(Settings(kafka=broker, topic_prefix=topics, partitions=PARTITIONS))
        starting = asyncio.create_task(start_producer(producer))
        for _ in range(steps):
            await asyncio.wait([starting], timeout=0.001)
        starting.cancel()
        await asyncio.wait([starting])
        assert starting.cancelled() or steps
        await stop_producer(producer)
        assert not is_connected(producer)


SMALL_TOPIC_BYTES = 2_000


@pytest.fixture
async def small_topic(broker: str, topics: str) -> tuple[Settings, str]:
    """A topic of one partition that takes small batches only."""
    settings = Settings(kafka=broker, topic_prefix=topics, partitions=PARTITIONS)
    name = f"{topics}small"
    async with admin_client(settings) as admin:
        config = {"max.message.bytes": str(SMALL_TOPIC_BYTES)}
        await admin.create_topics([NewTopic(name, 1, 1, topic_configs=config)])
    return settings, name


def is_connected(producer: AIOKafkaProducer) -> bool:
    return any(conn.connected() for conn in producer.client._conns.values())


async def test_a_refusal_spoils_a_producer_and_a_replaced_one_is_as_new(small_topic: tuple[Settings, str]) -> None:
    settings, topic = small_topic
    producers = ReplaceableProducer(lambda: make_producer(settings))
    await producers.start()
    failed = producers.current
    await failed.send_and_wait(topic, b"the first, which Kafka counts from")
    with pytest.raises(MessageSizeTooLargeError):
        await failed.send_and_wait(topic, os.urandom(10 * SMALL_TOPIC_BYTES))
    with pytest.raises(OutOfOrderSequenceNumber):
        await failed.send_and_wait(topic, b"small")
    await producers.replace(failed)
    async with producers.use() as fresh:
        assert fresh is not failed
        await fresh.send_and_wait(topic, b"small")
    await producers.stop()
    assert not is_connected(failed)
    assert not is_connected(fresh)


async def test_a_producer_in_use_is_stopped_only_when_its_last_user_has_done(small_topic: tuple[Settings, str]) -> None:
    settings, topic = small_topic
    producers = ReplaceableProducer(lambda: make_producer(settings))
    await producers.start()
    async with producers.use() as old:
        async with producers.use() as same:
            assert same is old
            await asyncio.gather(*(producers.replace(old) for _ in range(3)))
        fresh = producers.current
        assert fresh is not old
        await old.send_and_wait(topic, b"by the old one")
        async with producers.use() as new:
            assert new is fresh
    await eventually(lambda: not is_connected(old), what="the replaced producer to be stopped")
    await fresh.send_and_wait(topic, b"by the new one")
    await producers.stop()
    assert not is_connected(fresh)


async def test_nothing_is_sent_by_a_stopped_producer_and_all_are_stopped(small_topic: tuple[Settings, str]) -> None:
    settings, _ = small_topic
    made: list[AIOKafkaProducer] = []

    def make() -> AIOKafkaProducer:
        made.append(make_producer(settings))
        return made[-1]

    producers = ReplaceableProducer(make)
    with pytest.raises(ProducerClosed):
        _ = producers.current
    await producers.start()
    async with producers.use() as old:
        await producers.replace(old)
        replacing = asyncio.create_task(producers.replace(producers.current))
        await eventually(lambda: len(made) == 3, what="the third producer to be made", pause_seconds=0)
        await producers.stop()
        with pytest.raises(ProducerClosed):
            await replacing
    with pytest.raises(ProducerClosed):
        async with producers.use():
            pass
    assert [is_connected(producer) for producer in made] == [False] * 3


async def test_a_producer_that_cannot_be_replaced_stays(own_broker: tuple[Settings, subprocess.Popen[bytes]]) -> None:
    settings, process = own_broker
    producers = ReplaceableProducer(lambda: make_producer(settings))
    await producers.start()
    failed = producers.current
    process.kill()
    process.wait()
    with pytest.raises(KafkaError):
        await producers.replace(failed)
    assert producers.current is failed
    await producers.stop()
    assert not is_connected(failed)

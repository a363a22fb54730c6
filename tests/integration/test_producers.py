"""A producer that is stopped leaves nothing behind, whatever its broker does meanwhile."""

import asyncio
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka.errors import ProducerClosed

from deploy.local.broker import free_port, prepare_broker
from deploy.topics import create_topics
from schemas.settings import Settings
from schemas.topics import UPLOAD_ROWS
from services.runtime.kafka import make_producer, start_producer, stop_producer
from tests.fixtures.broker import PARTITIONS, running

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
    assert not [conn for conn in producer.client._conns.values() if conn.connected()]


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
        assert not [conn for conn in producer.client._conns.values() if conn.connected()]

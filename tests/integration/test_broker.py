"""The local broker is a real Kafka: it keeps its data over stops and kills; its topics are those of the registry."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import UnknownTopicOrPartitionError

from deploy.local.broker import Broker, free_port, prepare_broker
from deploy.topics import TopicsError, create_topics, wanted_topics
from schemas.settings import Settings
from schemas.topics import TOPICS, UPLOAD_ROWS
from tests.fixtures.broker import PARTITIONS, running

PHONE = b"+14155550100"


def prepare(folder: Path) -> Broker:
    return prepare_broker(folder / "kafka", port=free_port(), say=print)


async def write(address: str, topic: str, value: bytes) -> int:
    producer = AIOKafkaProducer(bootstrap_servers=address, acks="all")
    await producer.start()
    try:
        written = await producer.send_and_wait(topic, value, key=PHONE, partition=0)
        return int(written.offset)
    finally:
        await producer.stop()


async def read(address: str, topic: str, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(bootstrap_servers=address, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        return [(await consumer.getone()).value for _ in range(count)]
    finally:
        await consumer.stop()


async def cluster_id(address: str) -> str:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        described = await admin.describe_cluster()
        return str(described["cluster_id"])
    finally:
        await admin.close()


def test_data_and_cluster_outlast_a_stop_and_a_kill(tmp_path: Path, broker: str) -> None:
    log = tmp_path / "log"
    first = prepare(tmp_path)
    settings = Settings(kafka=first.address, partitions=PARTITIONS)
    topic = UPLOAD_ROWS.name
    with running(first, log):
        asyncio.run(create_topics(settings))
        asyncio.run(write(first.address, topic, b"one"))
        cluster = asyncio.run(cluster_id(first.address))
        assert cluster != asyncio.run(cluster_id(broker)), "each data folder is a cluster of its own"
    second = prepare(tmp_path)
    with running(second, log) as process:
        assert asyncio.run(write(second.address, topic, b"two")) == 1
        process.kill()
    third = prepare(tmp_path)
    with running(third, log):
        assert asyncio.run(read(third.address, topic, 2)) == [b"one", b"two"]
        assert asyncio.run(cluster_id(third.address)) == cluster


async def test_topics_are_not_made_by_accident(broker: str) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=broker, request_timeout_ms=2_000)
    await producer.start()
    try:
        with pytest.raises(UnknownTopicOrPartitionError):
            await producer.send_and_wait("a-topic-that-nobody-made", b"x")
    finally:
        await producer.stop()


async def test_topics_are_as_the_registry_says(broker: str, topics: str) -> None:
    wanted = wanted_topics(Settings(kafka=broker, topic_prefix=topics, partitions=PARTITIONS))
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    try:
        described = await admin.describe_topics([topic.name for topic in wanted])
    finally:
        await admin.close()
    counts = {one["topic"]: len(one["partitions"]) for one in described}
    assert counts == {topic.name: topic.partitions for topic in wanted}
    assert counts[topics + UPLOAD_ROWS.name] == PARTITIONS


async def test_creating_the_topics_again_changes_nothing(broker: str, topics: str) -> None:
    settings = Settings(kafka=broker, topic_prefix=topics, partitions=PARTITIONS)
    assert await create_topics(settings) == ()


async def test_another_partition_count_is_reported(broker: str, topics: str) -> None:
    settings = Settings(kafka=broker, topic_prefix=topics, partitions=PARTITIONS + 1)
    with pytest.raises(TopicsError, match=rf"{PARTITIONS} partitions instead of {PARTITIONS + 1}.*SCRUB_PARTITIONS"):
        await create_topics(settings)


def test_the_one_shot_command_makes_all_topics(broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRUB_KAFKA", broker)
    monkeypatch.setenv("SCRUB_TOPIC_PREFIX", f"one-shot-{free_port()}-")
    command = [sys.executable, "-m", "deploy.topics"]
    first, second = (subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(2))
    assert first.stdout.startswith(f"{len(TOPICS)} topics created")
    assert second.stdout.startswith("0 topics created")


def test_the_one_shot_command_without_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRUB_KAFKA", f"127.0.0.1:{free_port()}")
    done = subprocess.run([sys.executable, "-m", "deploy.topics"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "check SCRUB_KAFKA" in done.stderr.splitlines()[-1]

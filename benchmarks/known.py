"""Puts results of many phones on `lookup-results` beforehand, and waits until every reader has taken them in."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from schemas import topics
from schemas.codec import encode
from schemas.lookups import LookupResult, PhoneData
from schemas.settings import Settings
from services.runtime.kafka import make_producer

_IN_FLIGHT = 5_000


async def publish_results(kafka: str, phones: Iterable[str]) -> None:
    """One fresh `ok` result for each phone, all acknowledged."""
    producer = make_producer(Settings(kafka=kafka), linger_ms=20)
    now = datetime.now(UTC)
    data = PhoneData(line_type="mobile", carrier="Example Mobile", country="US", reachable="yes", do_not_call="no")
    await producer.start()
    pending: list[asyncio.Future[object]] = []
    try:
        for phone in phones:
            result = LookupResult(
                phone=phone, outcome="ok", data=data, provider="generic", looked_up_at=now, attempts=1
            )
            pending.append(await producer.send(topics.LOOKUP_RESULTS.name, encode(result), key=phone.encode()))
            if len(pending) >= _IN_FLIGHT:
                await asyncio.gather(*pending)
                pending.clear()
        await asyncio.gather(*pending)
    finally:
        await producer.stop()


async def wait_until_read(kafka: str, topic: str, *, deadline_seconds: float) -> None:
    """Waits until each group that ever committed an offset for the topic has committed its end.

    Raises:
        TimeoutError: a group was still behind.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka)
    await admin.start()
    await consumer.start()
    try:
        async with asyncio.timeout(deadline_seconds):
            while await _lag(admin, consumer, topic):
                await asyncio.sleep(0.5)
    finally:
        await consumer.stop()
        await admin.close()


async def _lag(admin: AIOKafkaAdminClient, consumer: AIOKafkaConsumer, topic: str) -> int:
    await consumer.topics()
    partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
    ends = await consumer.end_offsets(partitions)
    lag = 0
    for group, *_ in await admin.list_consumer_groups():
        committed = await admin.list_consumer_group_offsets(group, partitions=partitions)
        read = {partition: meta.offset for partition, meta in committed.items() if meta.offset >= 0}
        if read:
            lag += sum(end - read.get(partition, 0) for partition, end in ends.items())
    return lag

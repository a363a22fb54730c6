"""What was paid for reaches Kafka even when the producer has failed."""

import asyncio
import uuid

from deploy.topics import create_topics
from schemas import topics as registry
from schemas.settings import Settings
from services.lookup.gate_outbox import Outbox, Outgoing
from services.runtime.kafka import make_consumer, partitions_of, read_to_end, started, topic_name


async def test_records_for_a_topic_that_the_ended_producer_never_saw_do_not_wait_for_it(broker: str) -> None:
    settings = Settings(kafka=broker, topic_prefix=f"t{uuid.uuid4().hex[:12]}-", partitions=4)
    outbox = Outbox(settings)
    await outbox.start()
    await outbox.stop()
    await create_topics(settings)
    async with asyncio.timeout(30):
        await outbox.send(Outgoing(registry.LOOKUP_RETRIES, "key", b"{}"))
    await outbox.stop()


async def test_a_producer_that_has_ended_is_replaced_and_the_records_sent_again(broker: str, topics: str) -> None:
    settings = Settings(kafka=broker, topic_prefix=topics, partitions=4)
    outbox = Outbox(settings)
    await outbox.start()
    await outbox.stop()
    await outbox.send(*(Outgoing(registry.LOOKUP_RETRIES, f"key-{number}", b"{}") for number in range(3)))
    await outbox.stop()
    async with started(make_consumer(settings)) as reader:
        partitions = await partitions_of(reader, topic_name(registry.LOOKUP_RETRIES, settings))
        reader.assign(partitions)
        keys = [record.key async for record in read_to_end(reader, partitions)]
    assert sorted(keys) == [b"key-0", b"key-1", b"key-2"]
    assert outbox.error is None

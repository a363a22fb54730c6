"""What was paid for reaches Kafka even when the producer has failed."""

import asyncio
import os
import uuid
from dataclasses import replace

import pytest
from aiokafka.admin import NewTopic

from deploy.topics import create_topics
from schemas import topics as registry
from schemas.settings import Settings
from schemas.topics import Topic
from services.lookup.gate.outbox import Outbox
from services.lookup.gate.outgoing import OutgoingRecord, Undeliverable
from services.runtime.kafka import admin_client, make_consumer, partitions_of, read_to_end, started, topic_name


async def test_records_for_a_topic_that_the_ended_producer_never_saw_do_not_wait_for_it(broker: str) -> None:
    settings = Settings(kafka=broker, topic_prefix=f"t{uuid.uuid4().hex[:12]}-", partitions=4)
    outbox = Outbox(settings)
    await outbox.start()
    await outbox.stop()
    await create_topics(settings)
    async with asyncio.timeout(30):
        await outbox.send(OutgoingRecord(registry.LOOKUP_RETRIES, "key", b"{}"))
    await outbox.stop()


async def test_a_producer_that_has_ended_is_replaced_and_the_records_sent_again(broker: str, topics: str) -> None:
    settings = Settings(kafka=broker, topic_prefix=topics, partitions=4)
    outbox = Outbox(settings)
    await outbox.start()
    await outbox.stop()
    await outbox.send(*(OutgoingRecord(registry.LOOKUP_RETRIES, f"key-{number}", b"{}") for number in range(3)))
    await outbox.stop()
    async with started(make_consumer(settings)) as reader:
        partitions = await partitions_of(reader, topic_name(registry.LOOKUP_RETRIES, settings))
        reader.assign(partitions)
        keys = [record.key async for record in read_to_end(reader, partitions)]
    assert sorted(keys) == [b"key-0", b"key-1", b"key-2"]
    assert outbox.error is None


NARROW = replace(registry.LOOKUP_RETRIES, name="narrow")


async def make_narrow_topic(settings: Settings, limit_bytes: int) -> None:
    """A topic whose broker takes less than ours do."""
    topic = NewTopic(topic_name(NARROW, settings), 1, 1, topic_configs={"max.message.bytes": str(limit_bytes)})
    async with admin_client(settings) as admin:
        await admin.create_topics([topic])


async def keys_on(settings: Settings, topic: Topic) -> list[bytes]:
    async with started(make_consumer(settings)) as reader:
        partitions = await partitions_of(reader, topic_name(topic, settings))
        reader.assign(partitions)
        await reader.seek_to_beginning(*partitions)
        return sorted([record.key async for record in read_to_end(reader, partitions)])


async def test_a_record_that_is_too_large_is_its_own_outcome_and_costs_nobody_anything(
    broker: str, topics: str
) -> None:
    settings = Settings(kafka=broker, topic_prefix=topics, partitions=4)
    outbox = Outbox(settings)
    await outbox.start()
    before = (outbox._small.current, outbox._large.current)
    async with asyncio.timeout(30):
        outcomes = await outbox.send(
            OutgoingRecord(registry.LOOKUP_RETRIES, "first", b"{}"),
            OutgoingRecord(registry.LOOKUP_RETRIES, "huge", os.urandom(3_000_000)),
            OutgoingRecord(registry.LOOKUP_RETRIES, "last", b"{}"),
        )
    assert outcomes[1] == Undeliverable("MessageSizeTooLargeError", is_too_large=True)
    assert isinstance(outcomes[0], int)
    assert isinstance(outcomes[2], int)
    assert (outbox._small.current, outbox._large.current) == before
    assert outbox.error is None
    await outbox.stop()
    assert await keys_on(settings, registry.LOOKUP_RETRIES) == [b"first", b"last"]


@pytest.mark.parametrize("size", [200_000, 30_000])
async def test_a_broker_that_takes_less_refuses_one_record_and_takes_its_neighbours(
    broker: str, topics: str, size: int
) -> None:
    settings = Settings(kafka=broker, topic_prefix=topics, partitions=4)
    await make_narrow_topic(settings, 20_000)
    outbox = Outbox(settings)
    await outbox.start()
    async with asyncio.timeout(60):
        outcomes = await outbox.send(
            OutgoingRecord(NARROW, "first", b"{}"),
            OutgoingRecord(NARROW, "large", os.urandom(size)),
            OutgoingRecord(NARROW, "last", b"{}"),
        )
        later = await outbox.send(*(OutgoingRecord(NARROW, f"later-{number}", b"{}") for number in range(3)))
    assert outcomes[1] == Undeliverable("MessageSizeTooLargeError", is_too_large=True)
    assert all(isinstance(each, int) for each in [outcomes[0], outcomes[2], *later])
    assert outbox.error is None
    await outbox.stop()
    assert await keys_on(settings, NARROW) == [b"first", b"last", b"later-0", b"later-1", b"later-2"]


async def test_an_error_that_is_not_kafkas_is_the_outcome_of_its_record(broker: str, topics: str) -> None:
    settings = Settings(kafka=broker, topic_prefix=topics, partitions=4)
    outbox = Outbox(settings)
    await outbox.start()
    before = outbox._small.current
    async with asyncio.timeout(30):
        outcomes = await outbox.send(
            OutgoingRecord(registry.LOOKUP_RETRIES, "good", b"{}"),
            OutgoingRecord(registry.LOOKUP_RETRIES, "\ud800", b"{}"),
            # Hostile on purpose.
            OutgoingRecord(registry.LOOKUP_RETRIES, "value", "no bytes"),  # type: ignore[arg-type]
        )
    assert isinstance(outcomes[0], int)
    assert outcomes[1] == Undeliverable("UnicodeEncodeError", is_too_large=False)
    assert isinstance(outcomes[2], Undeliverable)
    assert outbox._small.current is before
    await outbox.stop()

"""Follows `bad-records`, and publishes bad records again, each to its own topic and partition."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import MessageSizeTooLargeError

from schemas import topics
from schemas.codec import decode, encode
from schemas.rows import BadRecord, retried_record_of
from schemas.settings import Settings
from services.assembler.status.bad_record_list import MOST_LISTED, BadRecordList, NotePosition, RecordPosition
from services.assembler.status.following import Follower
from services.runtime.kafka import make_consumer, partitions_of, started, topic_name

RETRY_SECONDS: Final = 20.0
"""Time for one request; the next request continues with the records that are left."""
READ_SECONDS: Final = 5.0
ACK_SECONDS: Final = 10.0
TOPICS: Final = {topic.name: topic for topic in topics.TOPICS}


class BadRecordLog:
    """The bad records that are listed; `older` counts the notes further back in the log."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.listed = BadRecordList()
        self._unread = 0
        self.follower = Follower(settings, begin=self._begin, take=self._take)

    @property
    def older(self) -> int:
        return self._unread + self.listed.dropped

    async def _begin(self, consumer: AIOKafkaConsumer) -> dict[TopicPartition, int]:
        """Reads only the newest notes: there may be more than fit in memory."""
        partitions = await partitions_of(consumer, topic_name(topics.BAD_RECORDS, self._settings))
        consumer.assign(partitions)
        begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        most = max(1, MOST_LISTED // len(partitions))
        starts = {tp: max(begins[tp], ends[tp] - most) for tp in partitions}
        for tp, start in starts.items():
            consumer.seek(tp, start)
        self._unread = sum(starts[tp] - begins[tp] for tp in partitions)
        self.listed.dropped = 0
        return dict(ends)

    def _take(self, record: ConsumerRecord) -> None:
        bad = decode(BadRecord, record.value, timestamp_ms=record.timestamp)
        topic = bad.topic.removeprefix(self._settings.topic_prefix)
        name = topic if topic in TOPICS else bad.topic
        self.listed.take(bad, topic=name, note=NotePosition(record.partition, record.offset))


@dataclass(slots=True)
class RepublishCounts:
    """Counts of records by outcome of publishing them again. `gone`: no longer on their topic."""

    retried: int = 0
    gone: int = 0
    not_possible: int = 0
    left: int = 0


async def publish_again(
    settings: Settings, producer: AIOKafkaProducer, positions: Iterable[RecordPosition]
) -> RepublishCounts:
    """Publishes each record to its topic and partition, with its key and headers, and notes that on `bad-records`.

    For each record:
    1. Read it.
    2. Publish it and await Kafka's acknowledgement.
    3. Note it on `bad-records`.

    Publishing a record twice does no harm: every reader takes repeated records.

    Raises:
        KafkaError, TimeoutError: Kafka does not answer. Records published until then are noted.
    """
    counts = RepublishCounts()
    deadline = time.monotonic() + RETRY_SECONDS
    async with started(make_consumer(settings)) as consumer:
        for position in sorted(positions):
            if time.monotonic() >= deadline:
                counts.left += 1
                continue
            await _publish_one(settings, producer, consumer, position, counts)
    return counts


async def _publish_one(
    settings: Settings,
    producer: AIOKafkaProducer,
    consumer: AIOKafkaConsumer,
    position: RecordPosition,
    counts: RepublishCounts,
) -> None:
    topic = TOPICS.get(position.topic)
    if topic is None:
        counts.not_possible += 1
        return
    name = topic_name(topic, settings)
    # 1. Read it.
    record = await _record_at(consumer, TopicPartition(name, position.partition), position.offset)
    if record is None:
        counts.gone += 1
        return
    if record.key is None and record.value is None:
        # aiokafka refuses a record without key and value.
        counts.not_possible += 1
        return
    # 2. Publish it and await Kafka's acknowledgement.
    try:
        async with asyncio.timeout(ACK_SECONDS):
            await producer.send_and_wait(
                name, record.value, key=record.key, partition=position.partition, headers=list(record.headers)
            )
    except MessageSizeTooLargeError:
        counts.not_possible += 1
        return
    # 3. Note it on `bad-records`.
    await _note_retry(settings, producer, record)
    counts.retried += 1


async def _record_at(consumer: AIOKafkaConsumer, partition: TopicPartition, offset: int) -> ConsumerRecord | None:
    """The record at this position; None when it has expired, was compacted away, or never existed."""
    if partition not in await partitions_of(consumer, partition.topic):
        return None
    begin = (await consumer.beginning_offsets([partition]))[partition]
    end = (await consumer.end_offsets([partition]))[partition]
    if not begin <= offset < end:
        return None
    consumer.assign([partition])
    consumer.seek(partition, offset)
    async with asyncio.timeout(READ_SECONDS):
        record = await consumer.getone(partition)
    return record if record.offset == offset else None


async def _note_retry(settings: Settings, producer: AIOKafkaProducer, record: ConsumerRecord) -> None:
    note = retried_record_of(record, topic=record.topic, instance=settings.instance, at=datetime.now(UTC))
    async with asyncio.timeout(ACK_SECONDS):
        await producer.send_and_wait(topic_name(topics.BAD_RECORDS, settings), encode(note))

"""Holds the last status of each part and of the gate, and wakes the watchers of an upload when it has news."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Final, NamedTuple

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from schemas import topics
from schemas.codec import UndecodableRecord, decode
from schemas.lookups import LookupCommand, LookupStatus
from schemas.parts import PartStatus
from schemas.settings import Settings
from services.assembler.status.following import Follower
from services.assembler.status.why import SystemStatus
from services.runtime.kafka import partitions_of, topic_name
from services.runtime.partitions import partition_of

LOG_END_SECONDS = 2.0
MOST_PARTS: Final = 1_000
MOST_GATES: Final = 16
"""Processes and gates held in memory; beyond these the oldest ones are dropped."""


class Watcher:
    """One listener to the news of one upload (None: of all). All news that come while it works are one wake-up."""

    def __init__(self, upload_id: str | None) -> None:
        self.upload_id = upload_id
        self._news = asyncio.Event()

    def wake(self) -> None:
        self._news.set()

    async def wait(self, timeout_seconds: float) -> bool:
        """Whether there was news before the time was over."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), timeout_seconds)
        had_news = self._news.is_set()
        self._news.clear()
        return had_news


class LogEnd(NamedTuple):
    """The end of a partition's log when it was read: the next record gets this offset."""

    partition: int
    offset: int


class LiveHub:
    """Follows progress, completions, the gate and the parts, without a consumer group: every replica sees all.

    Clients are told what SQL shows; records only say when to read SQL. Memory is bounded by the number of parts and
    watchers.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._watchers: dict[str | None, set[Watcher]] = {}
        self._parts: dict[str, PartStatus] = {}
        self._lookups: dict[bytes, LookupStatus] = {}
        self.command: LookupCommand | None = None
        self.follower = Follower(settings, begin=self._begin, take=self._take)
        self._names = {
            topic: topic_name(topic, settings)
            for topic in (
                topics.UPLOAD_PROGRESS,
                topics.UPLOAD_COMPLETIONS,
                topics.LOOKUP_STATUS,
                topics.LOOKUP_COMMANDS,
                topics.PART_STATUS,
            )
        }

    def system_status(self) -> SystemStatus:
        """What the parts and the gate last reported."""
        newest = max(self._lookups.values(), key=lambda status: status.at, default=None)
        return SystemStatus.of(newest, sorted(self._parts.values(), key=lambda part: part.key))

    @property
    def watcher_count(self) -> int:
        return sum(len(watchers) for watchers in self._watchers.values())

    @contextmanager
    def watch(self, upload_id: str | None) -> Iterator[Watcher]:
        """A watcher that is woken until the block ends."""
        watcher = Watcher(upload_id)
        self._watchers.setdefault(upload_id, set()).add(watcher)
        try:
            yield watcher
        finally:
            self._watchers[upload_id].discard(watcher)
            if not self._watchers[upload_id]:
                del self._watchers[upload_id]

    async def end_of_events(self, upload_id: str) -> LogEnd | None:
        """The present end of the partition that holds all events of an upload; None if Kafka does not answer."""
        consumer = self.follower.consumer
        if consumer is None:
            return None
        try:
            partitions = await partitions_of(consumer, topic_name(topics.UPLOAD_EVENTS, self._settings))
            of_upload = partitions[partition_of(upload_id.encode(), len(partitions))]
            ends = await asyncio.wait_for(consumer.end_offsets([of_upload]), LOG_END_SECONDS)
        except (KafkaError, LookupError, TimeoutError):
            return None
        return LogEnd(of_upload.partition, ends[of_upload])

    async def _begin(self, consumer: AIOKafkaConsumer) -> dict[TopicPartition, int]:
        """Reads states from their beginning, and news from now on."""
        states = [topics.LOOKUP_STATUS, topics.LOOKUP_COMMANDS, topics.PART_STATUS]
        news = [topics.UPLOAD_PROGRESS, topics.UPLOAD_COMPLETIONS]
        from_start = [tp for topic in states for tp in await partitions_of(consumer, self._names[topic])]
        from_end = [tp for topic in news for tp in await partitions_of(consumer, self._names[topic])]
        consumer.assign(from_start + from_end)
        await consumer.seek_to_beginning(*from_start)
        await consumer.seek_to_end(*from_end)
        ends: dict[TopicPartition, int] = await consumer.end_offsets(from_start)
        return ends

    def _take(self, record: ConsumerRecord) -> None:
        if record.topic == self._names[topics.PART_STATUS]:
            self._take_part(record)
        elif record.topic == self._names[topics.LOOKUP_STATUS]:
            self._take_lookup_status(record)
        elif record.topic == self._names[topics.LOOKUP_COMMANDS]:
            self._take_command(record)
        elif record.key is not None:
            self._wake(record.key.decode(errors="replace"))

    def _take_command(self, record: ConsumerRecord) -> None:
        value = record.value
        self.command = None if value is None else decode(LookupCommand, value, timestamp_ms=record.timestamp)

    def _take_part(self, record: ConsumerRecord) -> None:
        key = (record.key or b"").decode(errors="replace")
        if record.value is None:
            self._parts.pop(key, None)
            return
        part = decode(PartStatus, record.value, timestamp_ms=record.timestamp)
        if part.key != key:
            raise UndecodableRecord(f"the key is not that of {part.role}")
        # Not later than now: a clock that is ahead would keep a dead part alive.
        self._parts[key] = part.model_copy(update={"seen_at": min(part.seen_at, datetime.now(UTC))})
        if len(self._parts) > MOST_PARTS:
            del self._parts[min(self._parts, key=lambda one: self._parts[one].seen_at)]

    def _take_lookup_status(self, record: ConsumerRecord) -> None:
        if record.value is None:
            self._lookups.pop(record.key or b"", None)
            return
        status = decode(LookupStatus, record.value, timestamp_ms=record.timestamp)
        status = status.model_copy(update={"at": min(status.at, datetime.now(UTC))})
        before = self.system_status().lookup
        self._lookups[record.key or b""] = status
        if len(self._lookups) > MOST_GATES:
            del self._lookups[min(self._lookups, key=lambda one: self._lookups[one].at)]
        touched = {lane.upload_id for lane in status.lanes}
        if before is not None:
            touched |= {lane.upload_id for lane in before.lanes}
        for upload_id in touched & {key for key in self._watchers if key is not None}:
            self._wake(upload_id)

    def _wake(self, upload_id: str) -> None:
        for key in (upload_id, None):
            for watcher in self._watchers.get(key, ()):
                watcher.wake()

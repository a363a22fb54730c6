"""Reads the folded topics continuously, without a consumer group, and finds out when it has reached a given end."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from schemas import topics
from schemas.codec import UndecodableRecord
from schemas.rows import BadReason, BadRecord, bad_record_of
from schemas.settings import Settings
from services.lookup.gate.fold import Fold
from services.lookup.gate.log_record import FOLDED, LogRecord
from services.lookup.gate.recent_results import KEPT_MS
from services.runtime.kafka import make_consumer, partitions_of, start_client, topic_name

_POLL_MS = 100
_RECORDS_PER_POLL = 500
_RECORDS_PER_TURN = 50
"""After so many records the event loop runs other tasks, so that a burst does not delay calls."""
_RESTART_SECONDS = 1.0
log = logging.getLogger(__name__)


class NoSuchTopic(Exception):
    """The topics do not exist yet. The text says how to create them."""


class FoldReader:
    """Keeps `fold` up to date. A consumer that fails is replaced by one that continues at the same positions.

    A record that cannot be decoded or applied is passed to `on_bad_record` with its timestamp and then skipped.
    """

    def __init__(
        self,
        settings: Settings,
        fold: Fold,
        *,
        on_change: Callable[[], None],
        on_bad_record: Callable[[BadRecord, int], None],
    ) -> None:
        self._settings = settings
        self._fold = fold
        self._on_change = on_change
        self._on_bad_record = on_bad_record
        self._topics = {topic_name(topic, settings): topic for topic in FOLDED}
        self._positions: dict[TopicPartition, int] = {}
        self._ends: Mapping[TopicPartition, int] | None = None
        self._reached = asyncio.Event()
        self._consumer: AIOKafkaConsumer | None = None
        self.error: str | None = None
        self.records_read = 0

    async def run(self) -> None:
        """Reads until cancelled."""
        while True:
            consumer = make_consumer(self._settings)
            try:
                await start_client(consumer)
                await self._begin(consumer)
                self._consumer, self.error = consumer, None
                await self._read(consumer)
            except KafkaError as error:
                self.error = f"reading the log failed: {type(error).__name__}"
                log.warning("%s; starting again", self.error)
            finally:
                self._consumer = None
                with suppress(KafkaError):
                    await consumer.stop()
            await asyncio.sleep(_RESTART_SECONDS)

    async def catch_up(self) -> None:
        """Returns when all records are folded that the log held at the time of the call."""
        while self._consumer is None:
            await asyncio.sleep(0.05)
        self._reached.clear()
        self._ends = await self._consumer.end_offsets(list(self._positions))
        await self._reached.wait()

    async def lag(self) -> int:
        """The number of records that are not folded yet; 0 while there is no consumer."""
        consumer = self._consumer
        if consumer is None:
            return 0
        ends = await consumer.end_offsets(list(self._positions))
        behind = {tp: end for tp, end in ends.items() if end > self._positions[tp]}
        # Not every offset holds a record: the end of a transaction takes one, and the consumer skips it.
        return sum([max(0, end - await consumer.position(tp)) for tp, end in behind.items()])

    async def _begin(self, consumer: AIOKafkaConsumer) -> None:
        try:
            assigned = [tp for name in self._topics for tp in await partitions_of(consumer, name)]
        except LookupError as error:
            raise NoSuchTopic(str(error)) from error
        consumer.assign(assigned)
        if not self._positions:
            self._positions = await consumer.beginning_offsets(assigned)
            self._positions.update(await self._last_hour_of_results(consumer))
        for tp, offset in self._positions.items():
            consumer.seek(tp, offset)

    async def _last_hour_of_results(self, consumer: AIOKafkaConsumer) -> dict[TopicPartition, int]:
        """The offsets at which the hour before the newest result begins. The log's time counts, not the clock's."""
        name = topic_name(topics.LOOKUP_RESULTS, self._settings)
        partitions = [tp for tp in self._positions if tp.topic == name]
        ends = await consumer.end_offsets(partitions)
        newest_ms = max([await self._timestamp_of_last(consumer, tp, ends[tp]) for tp in partitions], default=0)
        if newest_ms == 0:
            return {}
        found = await consumer.offsets_for_times(dict.fromkeys(partitions, max(0, newest_ms - KEPT_MS)))
        return {tp: ends[tp] if at is None else at.offset for tp, at in found.items()}

    async def _timestamp_of_last(self, consumer: AIOKafkaConsumer, tp: TopicPartition, end: int) -> int:
        if end == self._positions[tp]:
            return 0
        consumer.seek(tp, end - 1)
        records = (await consumer.getmany(tp, timeout_ms=5_000)).get(tp, [])
        return max((int(record.timestamp) for record in records), default=0)

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            batches = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_RECORDS_PER_POLL)
            for tp, records in batches.items():
                await self._apply(tp, records)
            if batches:
                self._on_change()
            if self._ends is not None:
                await self._compare(consumer, self._ends)

    async def _apply(self, tp: TopicPartition, records: list[ConsumerRecord]) -> None:
        topic = self._topics[tp.topic]
        for number, record in enumerate(records):
            try:
                key = _text(record.key)
                for _ in self._fold.steps(LogRecord(topic, key, record.value, record.offset, record.timestamp)):
                    await asyncio.sleep(0)
            except UndecodableRecord as error:
                self._refuse(record, "undecodable", str(error))
            except Exception as error:
                # The text of the error may hold values of the record.
                self._refuse(record, "failed", type(error).__name__)
            self._positions[tp] = record.offset + 1
            self.records_read += 1
            if number % _RECORDS_PER_TURN == 0:
                await asyncio.sleep(0)

    def _refuse(self, record: ConsumerRecord, reason: BadReason, error: str) -> None:
        log.error("put aside (%s) %s-%d@%d: %s", reason, record.topic, record.partition, record.offset, error)
        self._on_bad_record(
            bad_record_of(
                record,
                topic=record.topic,
                role="gate",
                instance=self._settings.instance,
                reason=reason,
                error=error,
                at=datetime.now(UTC),
            ),
            record.timestamp,
        )

    async def _compare(self, consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> None:
        for tp, end in ends.items():
            # Compaction leaves gaps: the position of the consumer can be beyond the last record that it returned.
            self._positions[tp] = max(self._positions[tp], await consumer.position(tp))
            if self._positions[tp] < end:
                return
        self._ends = None
        self._reached.set()


def _text(key: bytes | None) -> str:
    try:
        return (key or b"").decode()
    except UnicodeDecodeError:
        raise UndecodableRecord("the key is not UTF-8") from None

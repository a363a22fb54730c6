"""Joins fetched records: all at once, else by halves, so that a record that cannot be joined is put aside alone.

1. Decode the records. Put the undecodable ones aside, acknowledged.
2. Join the others in one transaction, which also moves the fences.
3. If that fails, and neither the database nor Kafka is to blame, try halves, down to single records.
4. Put the failing record aside, acknowledged, then step over it. So it is put aside twice rather than never.
"""

import logging
import traceback
from collections.abc import Sequence
from typing import NamedTuple

from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.errors import KafkaError

from schemas.settings import Settings
from services.assembler.domain.decoding import REGISTERED, PartitionBatch, Undecodable, decode_partition
from services.assembler.domain.positions import Offsets
from services.assembler.join.bad_records import put_aside
from services.assembler.join.consumer import FetchedRecords, JoinConsumer
from services.assembler.join.database import Database
from services.assembler.join.transaction.rows import RowsAppeared
from services.assembler.join.transaction.transaction import Joiner
from services.assembler.store.dialect import is_failure_of_database
from services.assembler.store.fences import FenceLost
from services.runtime.halves import find_by_halves

IN_ORDER = ("upload_events", "lookup_results", "upload_rows", "rejected_rows", "plan_questions")
"""The order in which single records are joined: a question last, after the results that it asks about."""
log = logging.getLogger(__name__)


class TopicRecord(NamedTuple):
    """A fetched record and its topic, by its name in `Offsets`."""

    partition: int
    topic: str
    record: ConsumerRecord


def in_order(records: FetchedRecords) -> list[TopicRecord]:
    """The records in an order in which any run of neighbours moves each fence without a gap."""
    return [
        TopicRecord(partition, topic, record)
        for partition, by_topic in sorted(records.items())
        for topic in IN_ORDER
        for record in by_topic.get(topic, ())
    ]


def decode_all(reads: Sequence[TopicRecord], fences: dict[int, Offsets]) -> list[PartitionBatch]:
    """Decodes records at or after the fences. Records of partitions without a fence are left out."""
    grouped: FetchedRecords = {}
    for partition, topic, record in reads:
        grouped.setdefault(partition, {}).setdefault(topic, []).append(record)
    return decode_records(grouped, fences)


def decode_records(records: FetchedRecords, fences: dict[int, Offsets]) -> list[PartitionBatch]:
    """Like `decode_all`, for records as the consumer gives them."""
    return [
        decode_partition(partition, fences[partition], by_topic.items())
        for partition, by_topic in sorted(records.items())
        if partition in fences
    ]


def is_environment(error: Exception) -> bool:
    """Whether Kafka, the database or another join made the work fail, and no record did."""
    return isinstance(error, KafkaError | FenceLost | RowsAppeared | OSError | MemoryError) or is_failure_of_database(
        error
    )


class Batches:
    """Joins batches for the partitions of a consumer."""

    def __init__(
        self, database: Database, joiner: Joiner, producer: AIOKafkaProducer, settings: Settings, consumer: JoinConsumer
    ) -> None:
        self._database = database
        self._joiner = joiner
        self._producer = producer
        self._settings = settings
        self._consumer = consumer

    async def join(self, generation: int, records: FetchedRecords) -> bool:
        """Joins records of this generation; returns whether a completion event was written.

        Raises:
            FenceLost: another join owns one of the partitions now; transactions that were committed before stand.
            Exception: a failure for which `is_environment` holds; its transaction was rolled back.
        """
        # 1. Decode the records. Put the undecodable ones aside.
        batches = await self._database.run(decode_records, records, dict(self._consumer.fences))
        undecodable = [bad for batch in batches for bad in batch.undecodable]
        await put_aside(self._producer, self._settings, undecodable, reason="undecodable")
        if not self._consumer.is_current(generation):
            return False
        # 2. Join the others in one transaction.
        try:
            return await self.join_decoded(batches)
        except Exception as error:
            if is_environment(error):
                raise
            # The log gets the place of the failure only: the error's text may hold a record's content.
            place = "".join(traceback.format_tb(error.__traceback__))
            # A traceback may show data.
            log.error("joining a batch failed by %s; looking for the record\n%s", type(error).__name__, place)  # noqa: TRY400
        # 3. Try halves.
        return await self._join_by_halves(generation, in_order(records))

    async def join_decoded(self, batches: Sequence[PartitionBatch]) -> bool:
        """Joins batches in one transaction and notes the fences that it leaves."""
        completed = await self._database.run(self._joiner.join, batches)
        await self._consumer.moved({batch.partition: batch.end for batch in batches})
        return completed

    async def _join_by_halves(self, generation: int, reads: Sequence[TopicRecord]) -> bool:
        completed = False

        async def attempt(some: Sequence[TopicRecord]) -> None:
            nonlocal completed
            if not self._consumer.is_current(generation):
                raise FenceLost("the partitions moved while a batch was joined by halves")
            batches = await self._database.run(decode_all, some, dict(self._consumer.fences))
            try:
                completed |= await self.join_decoded(batches)
            except Exception as error:
                if len(some) > 1 or is_environment(error):
                    raise
                await self._step_over(some[0], error, batches)

        await find_by_halves(reads, attempt, is_environment=is_environment)
        return completed

    async def _step_over(self, read: TopicRecord, error: Exception, batches: Sequence[PartitionBatch]) -> None:
        # 4. Put the failing record aside, then step over it.
        bad = Undecodable(REGISTERED[read.topic], read.record, type(error).__name__)
        await put_aside(self._producer, self._settings, [bad], reason="failed")
        await self.join_decoded([PartitionBatch(batch.partition, batch.start, batch.end) for batch in batches])

"""Joins what was read: all of it at once, else by halves, so that a record which the work fails on ends alone.

1. Decode; what says nothing is put aside, acknowledged.
2. Join all in one transaction, which also moves the fences.
3. If that fails, and neither the database nor Kafka is to blame, try halves down to the one record.
4. Put that record aside, acknowledged, then step over it. So it is put aside twice rather than never.
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
"""The order in which one record after the other is joined: a question last, when the results before it are there."""
log = logging.getLogger(__name__)


class TopicRecord(NamedTuple):
    """A record that was read from a topic, which is named as in `Offsets`."""

    partition: int
    topic: str
    record: ConsumerRecord


def in_order(records: FetchedRecords) -> list[TopicRecord]:
    """The records such that any run of neighbours, joined after all before it, moves each fence without a gap."""
    return [
        TopicRecord(partition, topic, record)
        for partition, by_topic in sorted(records.items())
        for topic in IN_ORDER
        for record in by_topic.get(topic, ())
    ]


def decode_all(reads: Sequence[TopicRecord], fences: dict[int, Offsets]) -> list[PartitionBatch]:
    """What the records say, from where the fences stand; nothing of partitions that have none."""
    grouped: FetchedRecords = {}
    for partition, topic, record in reads:
        grouped.setdefault(partition, {}).setdefault(topic, []).append(record)
    return decode_records(grouped, fences)


def decode_records(records: FetchedRecords, fences: dict[int, Offsets]) -> list[PartitionBatch]:
    """Like `decode_all`, for records as the intake gives them."""
    return [
        decode_partition(partition, fences[partition], by_topic.items())
        for partition, by_topic in sorted(records.items())
        if partition in fences
    ]


def is_environment(error: Exception) -> bool:
    """Whether the work failed for no fault of the records: Kafka's, the database's, or other joins'."""
    return isinstance(error, KafkaError | FenceLost | RowsAppeared | OSError | MemoryError) or is_failure_of_database(
        error
    )


class Batches:
    """Joins batches for the partitions of an intake."""

    def __init__(
        self, database: Database, joiner: Joiner, producer: AIOKafkaProducer, settings: Settings, intake: JoinConsumer
    ) -> None:
        self._database = database
        self._joiner = joiner
        self._producer = producer
        self._settings = settings
        self._intake = intake

    async def join(self, generation: int, records: FetchedRecords) -> bool:
        """Joins records of this generation; returns whether a completion event was written.

        Raises:
            FenceLost: another join went on with one of the partitions, or they moved; what was done before stands.
            Exception: what `is_environment` says of; nothing of the transaction that it ended stands.
        """
        batches = await self._database.run(decode_records, records, dict(self._intake.fences))
        undecodable = [bad for batch in batches for bad in batch.undecodable]
        await put_aside(self._producer, self._settings, undecodable, reason="undecodable")
        if not self._intake.is_current(generation):
            return False
        try:
            return await self.join_decoded(batches)
        except Exception as error:
            if is_environment(error):
                raise
            # Only where it happened: the error's text may hold what the records do.
            place = "".join(traceback.format_tb(error.__traceback__))
            log.error("joining a batch failed by %s; looking for the record\n%s", type(error).__name__, place)  # noqa: TRY400
        return await self._join_by_halves(generation, in_order(records))

    async def join_decoded(self, batches: Sequence[PartitionBatch]) -> bool:
        """Joins batches in one transaction and notes where it leaves the fences."""
        completed = await self._database.run(self._joiner.join, batches)
        await self._intake.moved({batch.partition: batch.end for batch in batches})
        return completed

    async def _join_by_halves(self, generation: int, reads: Sequence[TopicRecord]) -> bool:
        completed = False

        async def attempt(some: Sequence[TopicRecord]) -> None:
            nonlocal completed
            if not self._intake.is_current(generation):
                raise FenceLost("the partitions moved while a batch was joined by halves")
            batches = await self._database.run(decode_all, some, dict(self._intake.fences))
            try:
                completed |= await self.join_decoded(batches)
            except Exception as error:
                if len(some) > 1 or is_environment(error):
                    raise
                await self._step_over(some[0], error, batches)

        await find_by_halves(reads, attempt, is_environment=is_environment)
        return completed

    async def _step_over(self, read: TopicRecord, error: Exception, batches: Sequence[PartitionBatch]) -> None:
        bad = Undecodable(REGISTERED[read.topic], read.record, type(error).__name__)
        await put_aside(self._producer, self._settings, [bad], reason="failed")
        await self.join_decoded([PartitionBatch(batch.partition, batch.start, batch.end) for batch in batches])

"""Owns the join's consumer: its partitions, its position in each log, and batches of records per partition."""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError

from schemas import groups, topics
from schemas.settings import Settings
from services.assembler.domain.decoding import PartitionBatch
from services.assembler.domain.positions import ACTED_ON, Goals, LogPlace, Offsets, first_reads, held_back
from services.assembler.domain.stall import StallDetector
from services.assembler.domain.zombies import joined_up_to
from services.assembler.join.database import Database
from services.assembler.store.join_reads import all_fences
from services.runtime.kafka import make_consumer, start_client, topic_name

BATCH_RECORDS = 5000
POLL_MS = 200
COMMIT_SECONDS = 2.0
_TOPICS = {
    "upload_rows": topics.UPLOAD_ROWS,
    "rejected_rows": topics.REJECTED_ROWS,
    "lookup_results": topics.LOOKUP_RESULTS,
    "upload_events": topics.UPLOAD_EVENTS,
    "plan_questions": topics.PLAN_QUESTIONS,
}
FetchedRecords = dict[int, dict[str, list[ConsumerRecord]]]
"""Records by partition number and topic (its name in `Offsets`)."""
log = logging.getLogger(__name__)


class JoinConsumer(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Reads the five topics from the positions that SQL holds; equal partition numbers of all topics come together.

    The group's offsets in Kafka are written for monitoring alone, and never read. `records` takes over the partitions
    that a rebalance assigned; the listener does not: the client sends no heartbeat while it waits for its listener,
    and SQL may take longer than a session.

    `take_over` gives the fences of partition numbers that were just assigned. It runs in the database's thread.
    """

    def __init__(
        self, settings: Settings, database: Database, *, take_over: Callable[[Sequence[int]], dict[int, Offsets]]
    ) -> None:
        self.consumer: AIOKafkaConsumer = make_consumer(
            settings,
            group=groups.JOIN,
            partition_assignment_strategy=(RangePartitionAssignor,),
            max_poll_interval_ms=600_000,
            fetch_max_wait_ms=100,
        )
        self.database = database
        self._fences_of = take_over
        self._kinds = {topic_name(topic, settings): kind for kind, topic in _TOPICS.items()}
        self._names = {kind: name for name, kind in self._kinds.items()}
        self._generation = 0
        self._assigned: frozenset[TopicPartition] | None = None
        self._ends_of_all: dict[LogPlace, int] | None = None
        self._stall = StallDetector()
        self._committed_at = 0.0
        self._held: frozenset[str] = frozenset()
        self.fences: dict[int, Offsets] = {}
        self.goals = Goals({})
        self.positions: dict[LogPlace, int] = {}

    @property
    def partitions(self) -> Collection[int]:
        """The partition numbers that are ours at the moment."""
        return tuple(self.fences)

    @property
    def caught_up(self) -> bool:
        """Whether this join has read all records that the logs held when its partitions were assigned."""
        return bool(self.fences) and all(self.goals.reached(topic, self.positions) for topic in Offsets._fields)

    async def start(self) -> None:
        """Joins the group."""
        self.consumer.subscribe(list(self._kinds), listener=self)
        await start_client(self.consumer)

    async def stop(self) -> None:
        """Leaves the group."""
        await self.consumer.stop()

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Begins no more work for them. The fences keep a running transaction apart from the new owner."""
        if revoked:
            self._lose_all(None)

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Notes the partitions to be taken over. They are not fetched until then."""
        self._lose_all(frozenset(assigned))
        if assigned:
            self.consumer.pause(*assigned)

    def _lose_all(self, assigned: frozenset[TopicPartition] | None) -> None:
        self._generation += 1
        self._assigned = assigned
        self._ends_of_all = None
        self.fences = {}

    async def _take_over(self, assigned: frozenset[TopicPartition]) -> None:
        """Seeks the positions that SQL holds, after a running transaction has ended: SQL has one thread."""
        generation = self._generation
        numbers = sorted({tp.partition for tp in assigned})
        fences = await self.database.run(self._fences_of, numbers)
        begins = await self.consumer.beginning_offsets(list(assigned))
        ends = self._places(await self.consumer.end_offsets(self._all_partitions()))
        if generation != self._generation:
            # A rebalance came in between; the next call takes over what it assigned.
            return
        own_ends = {place: end for place, end in ends.items() if place[1] in fences}
        reads = first_reads(fences, self._places(begins), own_ends)
        for place, offset in reads.items():
            self.consumer.seek(self._partition(place), offset)
        self.goals = Goals(own_ends)
        self.positions = dict(reads)
        self.fences = fences
        self._ends_of_all = ends
        self._assigned = None
        self._hold()

    def _all_partitions(self) -> list[TopicPartition]:
        """The partitions of all joins."""
        known = {name: self.consumer.partitions_for_topic(name) or () for name in self._kinds}
        others = {TopicPartition(name, number) for name, numbers in known.items() for number in numbers}
        return sorted(others | self.consumer.assignment())

    def take_over_again(self) -> None:
        """Makes `records` go back to the positions that SQL holds, after a transaction that was rolled back."""
        self._lose_all(frozenset(self.consumer.assignment()))

    async def everything_joined(self) -> bool:
        """Whether all joins together have joined the records that the logs held when our partitions were assigned."""
        ends = self._ends_of_all
        if ends is None:
            return False
        fences = await self.database.read(all_fences)
        of_topics = {topic: {n: end for (of, n), end in ends.items() if of == topic} for topic in ACTED_ON}
        return all(joined_up_to(fences, ends_of_topic, topic) for topic, ends_of_topic in of_topics.items())

    async def records(self) -> tuple[int, FetchedRecords]:
        """The next records, and the generation of the assignment that they belong to.

        The generation is read after the fetch. A rebalance may pass during the fetch, and the records then come from
        the positions of the new assignment: discarded as records of the old one, they would never be read again.
        Records that come before the new assignment has fences are discarded; they are read again from its fences.

        Raises:
            LogLost: Kafka no longer holds records that were not read yet.
        """
        if self._assigned:
            await self._take_over(self._assigned)
        fetched = await self.consumer.getmany(timeout_ms=POLL_MS, max_records=BATCH_RECORDS)
        generation = self._generation
        records: FetchedRecords = {}
        if not self.fences:
            return generation, records
        if fetched:
            self._stall.got_something()
        for tp, batch in fetched.items():
            records.setdefault(tp.partition, {})[self._kinds[tp.topic]] = batch
        return generation, records

    def is_current(self, generation: int) -> bool:
        """Whether the partitions are still assigned as they were when the records of this generation came."""
        return generation == self._generation and bool(self.fences)

    async def moved(self, fences: Mapping[int, Offsets]) -> None:
        """Notes that SQL holds everything up to these fences."""
        for number, offsets in fences.items():
            if number in self.fences:
                self.fences[number] = offsets
                self.positions |= {(topic, number): offset for topic, offset in offsets._asdict().items()}
        self._hold()
        await self._commit_now_and_then()

    async def check_for_stall(self) -> None:
        """To be called when no record came.

        Raises:
            Stalled: records wait, but none comes.
        """
        now = asyncio.get_running_loop().time()
        if self.fences and self._stall.look_is_due(now):
            readable = [tp for tp in self.consumer.assignment() if self._kinds[tp.topic] not in self._held]
            ends = self._places(await self.consumer.end_offsets(readable))
            positions = {place: await self.consumer.position(self._partition(place)) for place in ends}
            self._stall.check(positions, ends, now=now)

    async def gaps(self) -> list[PartitionBatch]:
        """To be called when no record came: empty batches that step over offsets without a record.

        Such offsets are the ends of Kafka's transactions, for example. Joining the batches moves the fences over them;
        other joins and the sweep wait for fences to reach the ends of the logs.
        """
        generation, ends = self._generation, {number: fence._asdict() for number, fence in self.fences.items()}
        for number, offsets in ends.items():
            for topic, offset in offsets.items():
                position = await self.consumer.position(self._partition((topic, number)))
                offsets[topic] = max(position, offset)
        if not self.is_current(generation):
            return []
        moved = {number: Offsets(**offsets) for number, offsets in ends.items()}
        return [PartitionBatch(n, self.fences[n], end) for n, end in moved.items() if end != self.fences[n]]

    def _hold(self) -> None:
        """Pauses the topics whose turn has not come."""
        held = held_back(self.goals, self.positions)
        for tp in self.consumer.assignment():
            if self._kinds[tp.topic] in held:
                self.consumer.pause(tp)
            else:
                self.consumer.resume(tp)
        self._held = held

    async def _commit_now_and_then(self) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._committed_at + COMMIT_SECONDS:
            return
        self._committed_at = now
        offsets = {self._partition(place): offset for place, offset in self.positions.items()}
        assigned = self.consumer.assignment()
        try:
            await self.consumer.commit({tp: offset for tp, offset in offsets.items() if tp in assigned})
        except KafkaError as error:
            log.info("the offsets for monitoring were not committed: %s", type(error).__name__)

    def _partition(self, place: LogPlace) -> TopicPartition:
        return TopicPartition(self._names[place[0]], place[1])

    def _places(self, offsets: Mapping[TopicPartition, int]) -> dict[LogPlace, int]:
        return {(self._kinds[tp.topic], tp.partition): offset for tp, offset in offsets.items()}

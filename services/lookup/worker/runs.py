"""Makes Faust hand over a partition's records by runs, as they were fetched, instead of one event for each.

An event costs Faust some 80 µs: tasks, queues, sensors and acknowledgements. A run of hundreds of records is one event
whose value is the tuple of the records, so that these costs vanish beside the work on the records themselves.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

import faust
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from faust.transport.consumer import RecordMap
from faust.transport.drivers.aiokafka import Consumer
from faust.types import TP
from faust.types.transports import SchedulingStrategyT

CHANGELOG: Final = "-changelog"
"""How Faust names the topic of a table ends."""
HELD_BACK_SECONDS: Final = 0.01
"""How soon a topic that was held back is looked at again."""
FETCH_SECONDS: Final = 0.25
"""How long a fetch waits for records; a rebalance waits for the fetch. Faust's own is a second."""

GAPS_SECONDS: Final = 0.25
"""How often partitions that bring nothing are looked at for offsets without records."""

Run = tuple[ConsumerRecord, ...]
"""Records of one partition in the order of the log, as they are: keys and values are bytes."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run, in the shape in which Faust's consumer expects a single record; its offset is that of the last."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    timestamp_type: int
    value: Run
    key: None = None
    checksum: None = None
    serialized_key_size: int = 0
    serialized_value_size: int = 0
    headers: tuple[()] = ()

    @classmethod
    def over_gap(cls, tp: TP, position: int) -> "RunRecord":
        """A run without records, up to a position: the offsets before it hold no record."""
        return cls(tp.topic, tp.partition, position - 1, timestamp=0, timestamp_type=0, value=())

    @classmethod
    def of(cls, records: Sequence[ConsumerRecord]) -> "RunRecord":
        last = records[-1]
        return cls(last.topic, last.partition, last.offset, last.timestamp, last.timestamp_type, tuple(records))


class RunScheduler(SchedulingStrategyT):
    """Yields each partition's fetched records as one run; changelog records one by one, as Faust's recovery wants.

    What is a run already passes as it is.
    """

    def __init__(self) -> None:
        """Faust makes one for each consumer."""

    def iterate(self, records: Mapping[TP, list[Any]]) -> Iterator[tuple[TP, Any]]:
        for tp, of_partition in records.items():
            if tp.topic.endswith(CHANGELOG):
                yield from ((tp, record) for record in of_partition)
            elif of_partition:
                [first, *_] = of_partition
                yield tp, first if isinstance(first, RunRecord) else RunRecord.of(of_partition)


class RunConsumer(Consumer):
    """Commits the highest acknowledged offset, and fetches nothing of a topic whose inbox is full.

    The inboxes acknowledge each partition's runs in order. Faust's own search for gaps takes each run for a hole in
    the log; it also never commits again behind a real hole, which compaction makes, right after offset 0. And its own
    way to hold partitions back puts the fetch loop to sleep for a second at a time.

    While partitions move, from their revocation until the new ones stand where they were left, only changelogs are
    fetched, and what a fetch brings that began before is thrown away. Faust seeks at the end of its recovery, one
    partition after the other, with a fetch of all of them under way: what that brought of a partition just sought was
    given back as if of before, and not read again until the next rebalance.

    Offsets need not hold records: the end of a transaction takes one, and compaction leaves holes. A client passes
    over them in silence, so a partition that ends with them would never count as read to its end. A run without records
    says so, behind the partition's other runs.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._delivered: dict[TP, int] = {}
        self._gaps_looked_for_at = 0.0
        self.full_topics: set[str] = set()
        self.moving = True
        self._moves = 0
        self._nothing_under_way = asyncio.Event()
        self._nothing_under_way.set()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        self.moving = True
        self._moves += 1
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Waits for the fetch of before, which ends only now: recovery must not seek while it moves positions."""
        await self._nothing_under_way.wait()
        await super().on_partitions_assigned(assigned, generation_id)

    async def perform_seek(self) -> None:
        """Seeks to the committed offsets, at the end of a recovery, and lets all topics be fetched from there.

        Faust also asks for it when a fetch ends after the flow was stopped. By then recovery may have sought the
        changelogs, and its end seeks anyhow. A partition without a commit Faust leaves where it happens to be.
        """
        if not self.flow_active:
            return
        moves = self._moves
        await super().perform_seek()
        sources = {tp for tp in self.assignment() if not tp.topic.endswith(CHANGELOG)}
        if uncommitted := [TopicPartition(*tp) for tp in sources if not self._committed_offset.get(tp)]:
            await self._thread.seek_to_beginning(*uncommitted)
        self._delivered = await self._positions(sources)
        # Partitions may have been taken away again meanwhile: then this seek was not the last.
        self.moving = moves != self._moves

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> RecordMap:
        wanted = {tp for tp in active_partitions or () if self._may_be_fetched(tp.topic)}
        if not wanted:
            await asyncio.sleep(HELD_BACK_SECONDS)
            return {}
        moves = self._moves
        self._nothing_under_way.clear()
        try:
            timeout = min(timeout, HELD_BACK_SECONDS if self.full_topics else FETCH_SECONDS)
            records = await super()._getmany(wanted, timeout)
        finally:
            self._nothing_under_way.set()
        if moves != self._moves:
            return {}
        self._delivered |= {tp: of_tp[-1].offset + 1 for tp, of_tp in records.items() if tp in self._delivered}
        gaps = await self._gaps({tp for tp in wanted - records.keys() if tp in self._delivered})
        return {**records, **gaps} if moves == self._moves else {}

    async def _gaps(self, quiet: set[TP]) -> RecordMap:
        """For partitions that stand behind what was delivered of them, though nothing came: runs without records."""
        now = monotonic()
        if not quiet or now < self._gaps_looked_for_at + GAPS_SECONDS:
            return {}
        self._gaps_looked_for_at = now
        positions = await self._positions(quiet)
        passed = {tp: position for tp, position in positions.items() if position > self._delivered[tp]}
        self._delivered |= passed
        return {tp: [RunRecord.over_gap(tp, position)] for tp, position in passed.items()}

    async def _positions(self, tps: set[TP]) -> dict[TP, int]:
        """Where the client stands in each partition. It lives in a thread of its own."""
        return dict(await self._thread.call_thread(_positions, self._thread._ensure_consumer(), tps))

    def _may_be_fetched(self, topic: str) -> bool:
        return topic.endswith(CHANGELOG) or not (self.moving or topic in self.full_topics)

    def _new_offset(self, tp: TP) -> int | None:
        acked = self._acked[tp]
        if not acked:
            return None
        offset = max(acked) + 1
        self._acked_index[tp].difference_update(acked)
        acked.clear()
        return offset

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Holes need no notes here."""


async def _positions(consumer: AIOKafkaConsumer, tps: Iterable[TP]) -> dict[TP, int]:
    return {tp: await consumer.position(TopicPartition(*tp)) for tp in tps}


RunConsumer.logger = Consumer.logger  # so that its chatter is under the level set for Faust


def consume_by_runs(app: faust.App) -> None:
    """Call before the app starts. The scheduler is a setting of the app; the consumer's class is not."""
    transport: Any = app.transport
    transport.Consumer = RunConsumer

"""Makes Faust hand over a partition's records by runs, as they were fetched, instead of one event for each.

An event costs Faust some 80 µs: tasks, queues, sensors and acknowledgements. A run of hundreds of records is one event
whose value is the tuple of the records, so that these costs vanish beside the work on the records themselves.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import faust
from aiokafka import ConsumerRecord
from faust.transport.consumer import RecordMap
from faust.transport.drivers.aiokafka import Consumer
from faust.types import TP
from faust.types.transports import SchedulingStrategyT

HELD_BACK_SECONDS: Final = 0.01
"""How soon a topic that was held back is looked at again."""

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
    def of(cls, records: Sequence[ConsumerRecord]) -> "RunRecord":
        last = records[-1]
        return cls(last.topic, last.partition, last.offset, last.timestamp, last.timestamp_type, tuple(records))


class RunScheduler(SchedulingStrategyT):
    """Yields each partition's fetched records as one run; changelog records one by one, as Faust's recovery wants."""

    def __init__(self) -> None:
        """Faust makes one for each consumer."""

    def iterate(self, records: Mapping[TP, list[Any]]) -> Iterator[tuple[TP, Any]]:
        for tp, of_partition in records.items():
            if tp.topic.endswith("-changelog"):
                yield from ((tp, record) for record in of_partition)
            elif of_partition:
                yield tp, RunRecord.of(of_partition)


class RunConsumer(Consumer):
    """Commits the highest acknowledged offset, and fetches nothing of a topic whose inbox is full.

    The inboxes acknowledge each partition's runs in order. Faust's own search for gaps takes each run for a hole in
    the log; it also never commits again behind a real hole, which compaction makes, right after offset 0. And its own
    way to hold partitions back puts the fetch loop to sleep for a second at a time.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.full_topics: set[str] = set()

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> RecordMap:
        wanted = {tp for tp in active_partitions or () if tp.topic not in self.full_topics}
        if not wanted:
            await asyncio.sleep(HELD_BACK_SECONDS)
            return {}
        return await super()._getmany(wanted, HELD_BACK_SECONDS if self.full_topics else timeout)

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


RunConsumer.logger = Consumer.logger  # so that its chatter is under the level set for Faust


def consume_by_runs(app: faust.App) -> None:
    """Call before the app starts. The scheduler is a setting of the app; the consumer's class is not."""
    transport: Any = app.transport
    transport.Consumer = RunConsumer

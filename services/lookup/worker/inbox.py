"""Gathers the records of one agent into batches, and acknowledges them in order, each after its batch is done.

Faust's `Stream.take` has two faults here. It acknowledges a batch even if the agent raises or wants to give it back.
While it waits for its reader, it also stops the only fetch loop of the app, and so the other agent.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, cast

import faust
from aiokafka import ConsumerRecord

from services.lookup.worker.partition_batches import BatchConsumer, PartitionBatch
from services.lookup.worker.read_positions import Partition

Batch = list[ConsumerRecord]
"""Records of several partitions, in log order within each partition."""

BATCH_RECORDS: Final = 1_000
BUFFERED_RECORDS: Final = 4_000
BUFFERED_BYTES: Final = 16 * 1024 * 1024
"""Kafka limits records by their compressed size: 4,000 of them can take gigabytes."""
WITHIN_SECONDS: Final = 0.02
POLL_SECONDS: Final = 0.05


class Inbox:
    """A bounded buffer between the stream of an agent and its work.

    While it holds at least `BUFFERED_RECORDS` or `BUFFERED_BYTES`, its topic is not fetched. When partitions are
    revoked, or on `stop`, it gives back the records whose work has not begun: they are read again from the last commit.
    Records of newly assigned partitions that arrive before the rebalance ends are kept: no one would read them again.
    """

    def __init__(
        self,
        app: faust.App,
        topic: str,
        *,
        work: Callable[[Batch], Awaitable[None]],
        done: Callable[[Mapping[Partition, int]], None],
        may_begin: Callable[[], bool] = lambda: True,
    ) -> None:
        """`work` processes one batch, and returns when its effects are acknowledged. `may_begin` permits a batch.

        `done` gets the next offset of each partition after each batch. A batch may be empty.
        """
        self._app = app
        self._topic = topic
        self._work = work
        self._done = done
        self._may_begin = may_begin
        self._buffered: list[Any] = []
        self._size = self._bytes = 0
        self._arrived = asyncio.Event()
        self._stopping = False

    async def read(self, stream: Any) -> None:
        """The body of the agent: runs until it is cancelled. Raises only if there is a bug."""
        stream.enable_acks = False
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._work_on_batches(stream))
            async for event in stream.events():
                self._buffered.append(event)
                self._size += len(event.value)
                self._bytes += bytes_in(event.value)
                self._arrived.set()
                self._note_fullness()
                if self._consumer.moving:
                    self._give_back()

    def stop(self) -> None:
        """Begins no further batch, and gives back the buffered records."""
        self._stopping = True
        self._give_back()

    async def _work_on_batches(self, stream: Any) -> None:
        """Repeats these steps until it is cancelled. A record is acknowledged last, so that no crash loses it.

        1. Wait for records, and for permission to begin.
        2. Take a batch.
        3. Process it: its effects are acknowledged by Kafka afterwards.
        4. Report the next offsets.
        5. Acknowledge its records, for Faust to commit.
        """
        while True:
            # 1. Wait.
            await self._arrived.wait()
            if self._size < BATCH_RECORDS:
                await asyncio.sleep(WITHIN_SECONDS)
            if self._stopping or self._consumer.moving:
                self._give_back()
            elif self._app.rebalancing or not self._may_begin():
                await asyncio.sleep(POLL_SECONDS)
            else:
                # 2. Take a batch.
                events = self._take()
                # 3. Process it.
                await self._work([record for each in events for record in each.value])
                # 4. Report the next offsets.
                self._done({(each.message.topic, each.message.partition): each.message.offset + 1 for each in events})
                # 5. Acknowledge.
                for each in events:
                    await stream.ack(each)

    def _take(self) -> list[Any]:
        """Takes whole partition batches, with at least `BATCH_RECORDS` records if there are so many."""
        count = taken = 0
        while taken < BATCH_RECORDS and count < len(self._buffered):
            taken += len(self._buffered[count].value)
            count += 1
        events, self._buffered = self._buffered[:count], self._buffered[count:]
        self._size -= taken
        self._bytes -= sum(bytes_in(each.value) for each in events)
        if not self._buffered:
            self._arrived.clear()
        self._note_fullness()
        return events

    def _give_back(self) -> None:
        # Faust ends a rebalance, and stops, only when no tracked message is unacknowledged.
        for each in self._buffered:
            self._consumer.unacked.discard(each.message)
        self._buffered, self._size, self._bytes = [], 0, 0
        self._arrived.clear()
        self._note_fullness()

    def _note_fullness(self) -> None:
        if self._size >= BUFFERED_RECORDS or self._bytes >= BUFFERED_BYTES:
            self._consumer.full_topics.add(self._topic)
        else:
            self._consumer.full_topics.discard(self._topic)

    @property
    def _consumer(self) -> BatchConsumer:
        return cast(BatchConsumer, self._app.consumer)


def bytes_in(batch: PartitionBatch) -> int:
    """The size of all values in a batch."""
    return sum(len(record.value or b"") for record in batch)

"""Gathers one agent's records into batches and acknowledges each only after its batch is done, in order.

`Stream.take` would do, but for two things: it acknowledges a batch even when the agent raises or wants to give it
back, and while it waits for its reader the one fetch loop of the app stands still, for the other agent too.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, cast

import faust
from aiokafka import ConsumerRecord

from services.lookup.worker.read_position import Partition
from services.lookup.worker.runs import Run, RunConsumer

Batch = list[ConsumerRecord]
"""Records, in log order within each partition."""

BATCH_RECORDS: Final = 1_000
BUFFERED_RECORDS: Final = 4_000
BUFFERED_BYTES: Final = 16 * 1024 * 1024
"""Kafka bounds records by what is left of them after compression: 4,000 of them can be gigabytes."""
WITHIN_SECONDS: Final = 0.02
POLL_SECONDS: Final = 0.05


class Inbox:
    """A bounded buffer between an agent's stream of runs and its work.

    While it holds `BUFFERED_RECORDS` or `BUFFERED_BYTES`, or more, its topic is not fetched. When partitions are taken
    away, or when told to stop, what has not begun is given back: it is read again from the last commit. What comes of
    the new partitions before the rebalance is over is kept until then, since nobody would read it again.
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
        """`work` does one batch and returns when all of it is safe; no batch is taken unless `may_begin()`.

        `done` is told the next offset of each partition when a batch is safe. A batch may be of no record at all.
        """
        self._app = app
        self._topic = topic
        self._work = work
        self._done = done
        self._may_begin = may_begin
        self._runs: list[Any] = []
        self._size = self._bytes = 0
        self._arrived = asyncio.Event()
        self._stopping = False

    async def read(self, stream: Any) -> None:
        """The agent's body: runs until it is cancelled. Only a defect ends it otherwise."""
        stream.enable_acks = False
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._work_for_ever(stream))
            async for event in stream.events():
                self._runs.append(event)
                self._size += len(event.value)
                self._bytes += bytes_in(event.value)
                self._arrived.set()
                self._note_fullness()
                if self._consumer.moving:
                    self._give_back()

    def stop(self) -> None:
        """Begins no further batch and gives back what is buffered."""
        self._stopping = True
        self._give_back()

    async def _work_for_ever(self, stream: Any) -> None:
        while True:
            await self._arrived.wait()
            if self._size < BATCH_RECORDS:
                await asyncio.sleep(WITHIN_SECONDS)
            if self._stopping or self._consumer.moving:
                self._give_back()
            elif self._app.rebalancing or not self._may_begin():
                await asyncio.sleep(POLL_SECONDS)
            else:
                runs = self._take()
                await self._work([record for run in runs for record in run.value])
                self._done({(run.message.topic, run.message.partition): run.message.offset + 1 for run in runs})
                for run in runs:
                    await stream.ack(run)

    def _take(self) -> list[Any]:
        """Whole runs, of at least `BATCH_RECORDS` if there are as many."""
        count = taken = 0
        while taken < BATCH_RECORDS and count < len(self._runs):
            taken += len(self._runs[count].value)
            count += 1
        runs, self._runs = self._runs[:count], self._runs[count:]
        self._size -= taken
        self._bytes -= sum(bytes_in(run.value) for run in runs)
        if not self._runs:
            self._arrived.clear()
        self._note_fullness()
        return runs

    def _give_back(self) -> None:
        # Faust ends a rebalance, and stops, only when each tracked message is acknowledged or forgotten.
        for run in self._runs:
            self._consumer.unacked.discard(run.message)
        self._runs, self._size, self._bytes = [], 0, 0
        self._arrived.clear()
        self._note_fullness()

    def _note_fullness(self) -> None:
        if self._size >= BUFFERED_RECORDS or self._bytes >= BUFFERED_BYTES:
            self._consumer.full_topics.add(self._topic)
        else:
            self._consumer.full_topics.discard(self._topic)

    @property
    def _consumer(self) -> RunConsumer:
        return cast(RunConsumer, self._app.consumer)


def bytes_in(run: Run) -> int:
    """The size of a run's values."""
    return sum(len(record.value or b"") for record in run)

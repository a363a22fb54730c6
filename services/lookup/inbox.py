"""Gathers one agent's events into batches and acknowledges each only after its batch is done, in order.

`Stream.take` would do, but for two things: it acknowledges a batch even when the agent raises or wants to give it
back, and while it waits for its reader the one fetch loop of the app stands still, for the other agent too.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import faust
from faust.types import TP

Batch = list[Any]
"""Faust events with raw bytes as key and value, in log order within each partition."""

BATCH_EVENTS: Final = 1_000
BUFFERED_EVENTS: Final = 4_000
WITHIN_SECONDS: Final = 0.02
POLL_SECONDS: Final = 0.05


class Inbox:
    """A bounded buffer between an agent's stream and its work.

    Beyond `BUFFERED_EVENTS` the topic's partitions are no longer fetched until half of them are worked off. During a
    rebalance, or when told to stop, what has not begun is given back: it is read again from the last commit.
    """

    def __init__(
        self,
        app: faust.App,
        topic: str,
        *,
        work: Callable[[Batch], Awaitable[None]],
        may_begin: Callable[[], bool] = lambda: True,
    ) -> None:
        """`work` does one batch and returns when all of it is safe; no batch is taken unless `may_begin()`."""
        self._app = app
        self._topic = topic
        self._work = work
        self._may_begin = may_begin
        self._events: Batch = []
        self._arrived = asyncio.Event()
        self._held: set[TP] = set()
        self._stopping = False

    async def read(self, stream: Any) -> None:
        """The agent's body: runs until it is cancelled. Only a defect ends it otherwise."""
        stream.enable_acks = False
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._work_for_ever(stream))
            async for event in stream.events():
                self._events.append(event)
                self._arrived.set()
                if len(self._events) >= BUFFERED_EVENTS and not self._held:
                    self._hold()

    def stop(self) -> None:
        """Begins no further batch and gives back what is buffered."""
        self._stopping = True
        self._give_back()

    async def _work_for_ever(self, stream: Any) -> None:
        while True:
            await self._arrived.wait()
            if len(self._events) < BATCH_EVENTS:
                await asyncio.sleep(WITHIN_SECONDS)
            if self._stopping or self._app.rebalancing:
                self._give_back()
            elif not self._may_begin():
                await asyncio.sleep(POLL_SECONDS)
            else:
                batch = self._take()
                await self._work(batch)
                for event in batch:
                    await stream.ack(event)

    def _take(self) -> Batch:
        batch, self._events = self._events[:BATCH_EVENTS], self._events[BATCH_EVENTS:]
        if not self._events:
            self._arrived.clear()
        if len(self._events) <= BUFFERED_EVENTS // 2:
            self._release()
        return batch

    def _give_back(self) -> None:
        # Faust ends a rebalance, and stops, only when each tracked message is acknowledged or forgotten.
        for event in self._events:
            self._app.consumer.unacked.discard(event.message)
        self._events = []
        self._arrived.clear()
        # Faust itself sets which partitions are fetched after a rebalance: held ones must not be resumed before.
        consumer: Any = self._app.consumer
        consumer._buffered_partitions -= self._held
        self._held = set()

    def _hold(self) -> None:
        self._held = {tp for tp in self._app.consumer.assignment() if tp.topic == self._topic}
        for tp in self._held:
            self._app.consumer.on_buffer_full(tp)

    def _release(self) -> None:
        for tp in self._held:
            self._app.consumer.on_buffer_drop(tp)
        self._held = set()

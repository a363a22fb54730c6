"""Owns a Kafka producer that can be replaced, as an idempotent one must be once Kafka has refused a batch.

aiokafka counts a refused batch in its sequence numbers, Kafka does not: Kafka then refuses whatever the same producer
sends to that partition. Only a new producer helps. What to send again, and how, is the policy of each user.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer
from aiokafka.errors import ProducerClosed

from services.runtime.kafka import start_producer, stop_producer


@dataclass(slots=True, eq=False)
class _Use:
    """A started producer, how many blocks send with it at the moment, and whether it gets no new ones."""

    producer: AIOKafkaProducer
    blocks: int = 0
    is_retired: bool = False


class ReplaceableProducer:
    """One producer at a time, made by `make`. Each producer that was started is stopped.

    A replaced producer is stopped in the background, once the last `use` of it has ended. What waits in it is sent.
    """

    def __init__(self, make: Callable[[], AIOKafkaProducer]) -> None:
        self._make = make
        self._use: _Use | None = None
        self._unstopped: set[_Use] = set()
        self._stopping: set[asyncio.Task[None]] = set()
        self._replacing = asyncio.Lock()
        self._stops = 0

    @property
    def current(self) -> AIOKafkaProducer:
        """The newest producer, after `stop` the last one. `replace` does not wait for those who take it from here.

        Raises:
            ProducerClosed: none was started yet.
        """
        if self._use is None:
            raise ProducerClosed
        return self._use.producer

    async def start(self) -> None:
        """Starts the first producer. Raises KafkaError when it could not start."""
        await self._begin()

    async def stop(self) -> None:
        """Stops every producer, those in use too. `replace` may start a new one afterwards."""
        self._stops += 1
        for use in tuple(self._unstopped):
            self._stop_in_background(use)
        await asyncio.gather(*self._stopping, return_exceptions=True)

    @asynccontextmanager
    async def use(self) -> AsyncIterator[AIOKafkaProducer]:
        """The newest producer; it is not stopped for being replaced before the block ends.

        Raises:
            ProducerClosed: none was started, or the newest was stopped. A stopped one must get no record: aiokafka may
                wait for its metadata for ever.
        """
        use = self._use
        if use is None or use not in self._unstopped:
            raise ProducerClosed
        use.blocks += 1
        try:
            yield use.producer
        finally:
            use.blocks -= 1
            self._stop_if_idle(use)

    async def replace(self, failed: AIOKafkaProducer) -> None:
        """Starts a new producer in the place of one that failed, unless another caller did so meanwhile.

        Raises:
            KafkaError: the new one could not start; the failed one stays the current one.
            ProducerClosed: `stop` was called meanwhile.
        """
        async with self._replacing:
            old = self._use
            if old is None or old.producer is not failed:
                return
            await self._begin()
            old.is_retired = True
            self._stop_if_idle(old)

    async def _begin(self) -> None:
        stops = self._stops
        producer = self._make()
        await start_producer(producer)
        if self._stops != stops:
            await stop_producer(producer)
            raise ProducerClosed
        self._use = _Use(producer)
        self._unstopped.add(self._use)

    def _stop_if_idle(self, use: _Use) -> None:
        if use.is_retired and not use.blocks:
            self._stop_in_background(use)

    def _stop_in_background(self, use: _Use) -> None:
        if use in self._unstopped:
            self._unstopped.remove(use)
            stopping = asyncio.create_task(stop_producer(use.producer))
            self._stopping.add(stopping)
            stopping.add_done_callback(self._stopping.discard)

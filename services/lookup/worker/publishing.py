"""Owns the worker's idempotent producer: hands records over by partition and awaits Kafka's acknowledgement."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError, RecordListTooLargeError

from schemas.settings import Settings
from services.runtime.kafka import make_producer, start_producer, stop_producer

Record = tuple[bytes | None, bytes | None]
"""Key and value."""

REFUSED_FOR_SIZE: Final = (MessageSizeTooLargeError, RecordListTooLargeError)
LINGER_MS: Final = 20
T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Use:
    """A producer, how many are handing records to it at the moment, and whether it gets no new ones."""

    producer: AIOKafkaProducer
    users: int = 0
    is_retired: bool = False


class Publisher:
    """Publishes through one producer at a time.

    What Kafka refuses for its size leaves a hole in an idempotent producer's sequence numbers: whatever the same
    producer sends to that partition next is refused too. So it gets no new records from then on, and is stopped when
    those who are still using it have done.
    """

    def __init__(self, make: Callable[[], AIOKafkaProducer]) -> None:
        self._make = make
        self._use = _Use(make())
        self._replacing = asyncio.Lock()

    async def start(self) -> None:
        await start_producer(self._use.producer)

    async def stop(self) -> None:
        await stop_producer(self._use.producer)

    async def publish(self, topic: str, by_partition: Mapping[int, Sequence[Record]]) -> dict[int, int]:
        """Sends records in whole batches, in order within each partition; returns each partition's last offset.

        Partitions without records are left out. Returns, or raises, once the outcome of every batch is known.

        Raises:
            MessageSizeTooLargeError, RecordListTooLargeError: Kafka refused a batch for its size. The others may be
                there or not; all can be published again, in smaller batches.
            KafkaError: some could not be written; the process must end and begin again at its last commit.
        """
        partitions = [partition for partition, records in by_partition.items() if records]
        async with self._in_use() as producer:
            sending = (_to_partition(producer, topic, partition, by_partition[partition]) for partition in partitions)
            offsets = await _all_of(sending)
        return dict(zip(partitions, offsets, strict=True))

    async def send_and_wait(self, topic: str, value: bytes, *, key: bytes) -> None:
        """Sends one record to the partition of its key. Raises KafkaError when it was not acknowledged."""
        async with self._in_use() as producer:
            await producer.send_and_wait(topic, value, key=key)

    async def partitions_of(self, topic: str) -> int:
        """How many partitions a topic has."""
        return len(await self._use.producer.partitions_for(topic))

    @asynccontextmanager
    async def _in_use(self) -> AsyncIterator[AIOKafkaProducer]:
        use = self._use
        use.users += 1
        try:
            yield use.producer
        except REFUSED_FOR_SIZE:
            await self._replace(use)
            raise
        finally:
            use.users -= 1
            if use.is_retired and not use.users:
                await stop_producer(use.producer)

    async def _replace(self, refused: _Use) -> None:
        async with self._replacing:
            if self._use is refused:
                fresh = self._make()
                await start_producer(fresh)
                self._use, refused.is_retired = _Use(fresh), True


@asynccontextmanager
async def publishing(settings: Settings) -> AsyncIterator[Publisher]:
    """A publisher that is stopped at the end of the block."""
    publisher = Publisher(lambda: make_producer(settings, linger_ms=LINGER_MS))
    try:
        await publisher.start()
        yield publisher
    finally:
        await publisher.stop()


async def _to_partition(producer: AIOKafkaProducer, topic: str, partition: int, records: Iterable[Record]) -> int:
    """The offset of the last record; -1 when Kafka took it and no longer knows where."""
    batch, acknowledgements = producer.create_batch(), []
    for key, value in records:
        if batch.append(key=key, value=value, timestamp=None) is None:
            acknowledgements.append(await producer.send_batch(batch, topic, partition=partition))
            batch = producer.create_batch()
            batch.append(key=key, value=value, timestamp=None)
    acknowledgements.append(await producer.send_batch(batch, topic, partition=partition))
    offset = int((await _all_of(acknowledgements))[-1].offset)
    return -1 if offset < 0 else offset + int(batch.record_count()) - 1


async def _all_of(work: Iterable[Awaitable[T]]) -> list[T]:
    """All results, once each has ended; raises what Kafka refused for its size before any other error."""
    outcomes = await asyncio.gather(*work, return_exceptions=True)
    errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    if errors:
        raise next((error for error in errors if isinstance(error, REFUSED_FOR_SIZE)), errors[0])
    return [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]

"""Hands the worker's records to Kafka by partition, in whole batches, and awaits the acknowledgement of each batch."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError, RecordListTooLargeError

from schemas.settings import Settings
from services.runtime.kafka import make_producer
from services.runtime.producers import ReplaceableProducer

Record = tuple[bytes | None, bytes | None]
"""Key and value."""

REFUSED_FOR_SIZE: Final = (MessageSizeTooLargeError, RecordListTooLargeError)
LINGER_MS: Final = 20
T = TypeVar("T")


class Publisher:
    """Publishes through one producer at a time, and replaces it once Kafka has refused a batch for its size.

    Those who still use the replaced producer finish with it: for any other error the process ends.
    """

    def __init__(self, make: Callable[[], AIOKafkaProducer]) -> None:
        self._producer = ReplaceableProducer(make)

    async def start(self) -> None:
        await self._producer.start()

    async def stop(self) -> None:
        await self._producer.stop()

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
        return len(await self._producer.current.partitions_for(topic))

    @asynccontextmanager
    async def _in_use(self) -> AsyncIterator[AIOKafkaProducer]:
        async with self._producer.use() as producer:
            try:
                yield producer
            except REFUSED_FOR_SIZE:
                await self._producer.replace(producer)
                raise


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

"""Owns the producer that ingest writes with: replaced when Kafka has refused something, so that the next record passes.

aiokafka counts a refused batch in its sequence numbers, Kafka does not: whatever followed on that partition would be
refused for ever. A batch is refused as a whole, so after a refusal for size the batches are narrow, and what is refused
then is to blame itself.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    KafkaError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    ProducerClosed,
)
from aiokafka.structs import RecordMetadata

from schemas.codec import MAX_VALUE_BYTES
from schemas.settings import Settings
from services.ingest.publishing import BatchSender, KeyAndValue
from services.runtime.kafka import MAX_BATCH_BYTES, make_producer, start_producer, stop_producer

NARROW_BATCH_BYTES: Final = 16 * 1024
"""A record that is larger travels alone."""
_MOST_PRODUCERS: Final = 4
R = TypeVar("R")
log = logging.getLogger(__name__)


class RecordTooLarge(Exception):
    """Kafka does not take a record of this size. What it is about has to end; nothing else is affected."""


@dataclass(frozen=True, slots=True, eq=False)
class _Current:
    producer: AIOKafkaProducer
    batch_bytes: int


class Sender:
    """Use as `async with`. Each method returns once Kafka has acknowledged what it was given.

    `batch_bytes`: most of a batch of several records, before compression.

    Raises:
        RecordTooLarge: a record is larger than Kafka takes.
        KafkaError: Kafka did not take it for another reason; the next try goes through a new producer.
    """

    def __init__(self, settings: Settings, *, batch_bytes: int = MAX_BATCH_BYTES) -> None:
        self._settings = settings
        self._current = self._made(batch_bytes)
        self._replacing = asyncio.Lock()
        self._retired: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Sender":
        await start_producer(self._current.producer)
        return self

    async def __aexit__(self, *_: object) -> None:
        await stop_producer(self._current.producer)
        await asyncio.gather(*self._retired, return_exceptions=True)

    @property
    def producer(self) -> AIOKafkaProducer:
        """The producer as it is now: for metadata, and for those who do their own waiting and call `replace`."""
        return self._current.producer

    async def send(self, topic: str, value: bytes | None, *, key: bytes) -> RecordMetadata:
        """Writes one record."""
        if value is not None and len(value) > MAX_VALUE_BYTES:
            raise RecordTooLarge
        return await self._sent(lambda producer: producer.send_and_wait(topic, value, key=key))

    async def send_all(self, topic: str, values: Collection[bytes], *, key: bytes | None) -> None:
        """Writes records of one key, in order; without a key, in any."""

        async def deliver(producer: AIOKafkaProducer) -> None:
            await asyncio.gather(*[await producer.send(topic, value, key=key) for value in values])

        await self._sent(deliver)

    async def send_batches(self, records: Mapping[tuple[str, int], Sequence[KeyAndValue]]) -> None:
        """Writes records to topics and partitions. After an error some are written, and may be written again."""

        async def deliver(producer: AIOKafkaProducer) -> None:
            batches = BatchSender(producer)
            for (topic, partition), some in records.items():
                await batches.add(topic, partition, some)
            await batches.done()

        await self._sent(deliver)

    async def replace(self, producer: AIOKafkaProducer, *, batch_bytes: int | None = None) -> None:
        """Makes a new producer, unless `producer` was replaced already. What waits in the old one is still sent."""
        async with self._replacing:
            old = self._current
            if old.producer is not producer:
                return
            new = self._made(batch_bytes or old.batch_bytes)
            await start_producer(new.producer)
            self._current = new
            retiring = asyncio.create_task(stop_producer(old.producer))
            self._retired.add(retiring)
            retiring.add_done_callback(self._retired.discard)

    async def _sent(self, deliver: Callable[[AIOKafkaProducer], Awaitable[R]]) -> R:
        for _ in range(_MOST_PRODUCERS):
            used = self._current
            try:
                return await deliver(used.producer)
            except MessageSizeTooLargeError:
                await self.replace(used.producer, batch_bytes=NARROW_BATCH_BYTES)
                if used.batch_bytes <= NARROW_BATCH_BYTES:
                    raise RecordTooLarge from None
                log.warning("Kafka refused a batch for its size; from now on batches are narrow")
            except (OutOfOrderSequenceNumber, ProducerClosed):
                await self.replace(used.producer)
            except KafkaError:
                await self.replace(used.producer)
                raise
        raise OutOfOrderSequenceNumber

    def _made(self, batch_bytes: int) -> _Current:
        return _Current(make_producer(self._settings, max_batch_bytes=batch_bytes), batch_bytes)

"""Decides what ingest does when Kafka refuses a batch: it replaces the producer, makes the batches narrow, tries again.

Kafka refuses a batch as a whole. So after a refusal for size the batches are narrow, and a record that Kafka refuses
then is too large itself.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final, TypeVar
from weakref import WeakSet

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
from services.runtime.batch_sending import BatchSender, KeyAndValue
from services.runtime.kafka import MAX_BATCH_BYTES, make_producer
from services.runtime.producers import ReplaceableProducer

NARROW_BATCH_BYTES: Final = 16 * 1024
"""A record that is larger travels alone."""
_MOST_PRODUCERS: Final = 4
R = TypeVar("R")
log = logging.getLogger(__name__)


class RecordTooLarge(Exception):
    """Kafka does not take a record of this size. What it is about has to end; nothing else is affected."""


class Sender:
    """Use as `async with`. Each method returns once Kafka has acknowledged what it was given.

    `batch_bytes`: most of a batch of several records, before compression.

    Raises:
        RecordTooLarge: a record is larger than Kafka takes.
        KafkaError: Kafka did not take it for another reason; the next try goes through a new producer.
    """

    def __init__(self, settings: Settings, *, batch_bytes: int = MAX_BATCH_BYTES) -> None:
        self._settings = settings
        self._batch_bytes = batch_bytes
        self._narrow: WeakSet[AIOKafkaProducer] = WeakSet()
        self._producer = ReplaceableProducer(self._make)

    async def __aenter__(self) -> "Sender":
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.stop()

    @property
    def producer(self) -> AIOKafkaProducer:
        """The producer as it is now: for metadata, and for those who do their own waiting and call `replace`."""
        return self._producer.current

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

    async def replace(self, producer: AIOKafkaProducer) -> None:
        """Makes a new producer, unless `producer` was replaced already. What waits in the old one is still sent."""
        await self._producer.replace(producer)

    async def _sent(self, deliver: Callable[[AIOKafkaProducer], Awaitable[R]]) -> R:
        for _ in range(_MOST_PRODUCERS):
            used = self._producer.current
            try:
                async with self._producer.use():
                    return await deliver(used)
            except MessageSizeTooLargeError:
                self._batch_bytes = min(self._batch_bytes, NARROW_BATCH_BYTES)
                await self.replace(used)
                if used in self._narrow:
                    raise RecordTooLarge from None
                log.warning("Kafka refused a batch for its size; from now on batches are narrow")
            except (OutOfOrderSequenceNumber, ProducerClosed):
                await self.replace(used)
            except KafkaError:
                await self.replace(used)
                raise
        raise OutOfOrderSequenceNumber

    def _make(self) -> AIOKafkaProducer:
        producer = make_producer(self._settings, max_batch_bytes=self._batch_bytes)
        if self._batch_bytes <= NARROW_BATCH_BYTES:
            self._narrow.add(producer)
        return producer

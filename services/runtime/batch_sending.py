"""Sends records in batches made by hand: one future per batch, not per record, so that a record costs microseconds."""

import asyncio
from collections.abc import Iterable

from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import RecordMetadata

KeyAndValue = tuple[bytes, bytes]


class BatchSender:
    """Collects records by partition and sends each full batch at once. `done` waits until Kafka has all of them.

    The producer numbers batches of this kind like any others, so its idempotence holds.
    """

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self._open: dict[tuple[str, int], BatchBuilder] = {}
        self._sent: list[asyncio.Future[RecordMetadata]] = []

    async def add(self, topic: str, partition: int, records: Iterable[KeyAndValue]) -> None:
        """Takes records for a partition, in order."""
        place = (topic, partition)
        for key, value in records:
            batch = self._open.get(place)
            if batch is None:
                batch = self._open[place] = self._producer.create_batch()
            if batch.append(key=key, value=value, timestamp=None) is None:
                await self._send(place, self._open.pop(place))
                batch = self._open[place] = self._producer.create_batch()
                batch.append(key=key, value=value, timestamp=None)

    async def done(self) -> None:
        """Sends what is left. Raises KafkaError when a batch was not taken."""
        while self._open:
            place, batch = self._open.popitem()
            await self._send(place, batch)
        sent, self._sent = self._sent, []
        outcomes = await asyncio.gather(*sent, return_exceptions=True)
        # A refusal for size comes first: others follow from it.
        errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        for error in sorted(errors, key=lambda error: not isinstance(error, MessageSizeTooLargeError)):
            raise error

    async def _send(self, place: tuple[str, int], batch: BatchBuilder) -> None:
        batch.close()
        topic, partition = place
        self._sent.append(await self._producer.send_batch(batch, topic, partition=partition))

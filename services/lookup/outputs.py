"""Sends what the worker's agents produce; returns only once Kafka has acknowledged it."""

from collections.abc import Iterable
from datetime import UTC, datetime

from aiokafka import AIOKafkaProducer, ConsumerRecord

from schemas import topics
from schemas.codec import UndecodableRecord, encode
from schemas.lookups import LookupRequest
from schemas.rows import BadRecord
from schemas.settings import Settings
from services.runtime.kafka import topic_name

Record = tuple[bytes, bytes | None]
"""Key and value."""


async def publish(producer: AIOKafkaProducer, topic: str, partition: int, records: Iterable[Record]) -> int:
    """Sends records to one partition, in order and in whole batches, and awaits the acknowledgements.

    Returns the offset of the last record, -1 without records.

    Raises:
        KafkaError: some could not be written; the process must end and begin again at its last commit.
    """
    acknowledgements = []
    batch, size = producer.create_batch(), 0
    for key, value in records:
        if batch.append(key=key, value=value, timestamp=None) is None:
            acknowledgements.append((await producer.send_batch(batch, topic, partition=partition), size))
            batch, size = producer.create_batch(), 0
            batch.append(key=key, value=value, timestamp=None)
        size += 1
    if size:
        acknowledgements.append((await producer.send_batch(batch, topic, partition=partition), size))
    last = -1
    for acknowledgement, size in acknowledgements:
        last = (await acknowledgement).offset + size - 1
    return last


class Outputs:
    """Writes through an idempotent producer of its own: Faust's is not idempotent, and only logs what fails."""

    def __init__(self, producer: AIOKafkaProducer, settings: Settings) -> None:
        self._producer = producer
        self._settings = settings

    async def row_partitions(self) -> int:
        """How many partitions `upload-rows` has. Faust's own count is missing while it rebalances."""
        return len(await self._producer.partitions_for(topic_name(topics.UPLOAD_ROWS, self._settings)))

    async def request(self, requests: list[LookupRequest]) -> None:
        """Asks the gate for lookups; its topic has one partition."""
        records = [(request.key.encode(), encode(request)) for request in requests]
        await publish(self._producer, topic_name(topics.LOOKUP_REQUESTS, self._settings), 0, records)

    async def publish_again(self, records: list[Record]) -> None:
        """Puts rows, with their phones as keys, where they belong."""
        name = topic_name(topics.UPLOAD_ROWS, self._settings)
        for acknowledgement in [await self._producer.send(name, value, key=key) for key, value in records]:
            await acknowledgement

    async def put_aside(self, record: ConsumerRecord, error: UndecodableRecord) -> None:
        """Writes a record that could not be read to `bad-records`, as it came."""
        bad = BadRecord(
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            error=str(error),
            key=record.key,
            value=record.value,
            seen_by=f"worker-{self._settings.instance}",
            at=datetime.now(UTC),
        )
        await self._producer.send_and_wait(topic_name(topics.BAD_RECORDS, self._settings), encode(bad))

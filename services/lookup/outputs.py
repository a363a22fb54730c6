"""Sends what the worker's agents produce; returns only once Kafka has acknowledged it."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaProducer

from schemas import topics
from schemas.codec import UndecodableRecord, encode
from schemas.rows import BadRecord
from schemas.settings import Settings
from schemas.topics import Topic
from services.runtime.kafka import topic_name


class Outputs:
    """Writes through an idempotent producer of its own: Faust's is not idempotent, and only logs what fails."""

    def __init__(self, producer: AIOKafkaProducer, settings: Settings) -> None:
        self._producer = producer
        self._settings = settings

    async def send(self, topic: Topic, records: Iterable[tuple[bytes, bytes]]) -> None:
        """Sends records, given as key and value, and awaits every acknowledgement.

        Raises:
            KafkaError: one could not be written; the process must end and begin again at its last commit.
        """
        name = topic_name(topic, self._settings)
        for acknowledgement in [await self._producer.send(name, value, key=key) for key, value in records]:
            await acknowledgement

    async def put_aside(self, event: Any, error: UndecodableRecord) -> None:
        """Writes a record that could not be read to `bad-records`, as it came."""
        message = event.message
        bad = BadRecord(
            topic=message.topic,
            partition=message.partition,
            offset=message.offset,
            error=str(error),
            key=message.key,
            value=message.value,
            seen_by=f"worker-{self._settings.instance}",
            at=datetime.now(UTC),
        )
        await self._producer.send_and_wait(topic_name(topics.BAD_RECORDS, self._settings), encode(bad))

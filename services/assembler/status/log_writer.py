"""Writes events and commands to Kafka; a call returns when Kafka has acknowledged the record."""

import asyncio
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas import topics
from schemas.codec import encode
from schemas.settings import Settings
from schemas.topics import Topic
from schemas.upload_events import UploadEventBase
from services.runtime.kafka import topic_name
from services.runtime.partitions import partition_of
from services.runtime.problems import ProblemError

ACK_SECONDS: Final = 10.0


class LogWriter:
    """What routes and pages write, with the application's one producer."""

    def __init__(self, settings: Settings, producer: AIOKafkaProducer) -> None:
        self._settings = settings
        self.producer = producer

    async def publish_event(self, event: UploadEventBase) -> None:
        """Writes a command to `upload-events`; returns when Kafka has it.

        Raises:
            ProblemError: 503 as `publish`.
        """
        await self.publish(topics.UPLOAD_EVENTS, event.upload_id, encode(event))

    async def publish(self, topic: Topic, key: str, value: bytes | None, *, partition: int | None = None) -> None:
        """Writes a record; returns when Kafka has it.

        Raises:
            ProblemError: 503 when Kafka does not acknowledge it in time.
        """
        try:
            async with asyncio.timeout(ACK_SECONDS):
                await self.producer.send_and_wait(
                    topic_name(topic, self._settings), value, key=key.encode(), partition=partition
                )
        except (KafkaError, TimeoutError):
            raise log_not_available() from None

    async def partition_of(self, topic: Topic, key: str) -> int:
        """The partition that a key belongs to, by the rule that all writers of the topic share."""
        return partition_of(key.encode(), len(await self.producer.partitions_for(topic_name(topic, self._settings))))

    async def check_connection(self) -> None:
        """Asks Kafka for its metadata.

        Raises:
            KafkaError: Kafka does not answer.
        """
        await self.producer.client.fetch_all_metadata()


def log_not_available() -> ProblemError:
    return ProblemError(
        503,
        "log-not-available",
        "The command could not be stored",
        "The message log does not answer at the moment. Send the command again; repeating it does no harm.",
        headers={"Retry-After": "5"},
    )

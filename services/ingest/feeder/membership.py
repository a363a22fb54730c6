"""Owns the assignment of `upload-events` to this feeder: a member of a consumer group that fetches no records."""

import asyncio
from collections.abc import Collection

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.structs import OffsetAndMetadata

from schemas import groups, topics
from schemas.settings import Settings
from services.runtime.kafka import make_consumer, topic_name

_NEVER_MS = 2**31 - 1
"""aiokafka removes a member for good that does not poll for so long. This member never polls, by design."""


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """The partitions assigned now. `changed` is set at each revocation and each assignment."""

    def __init__(self, settings: Settings) -> None:
        self.partitions: frozenset[int] = frozenset()
        self.changed = asyncio.Event()
        self._topic = topic_name(topics.UPLOAD_EVENTS, settings)
        self.consumer: AIOKafkaConsumer = make_consumer(settings, group=groups.FEEDER, max_poll_interval_ms=_NEVER_MS)

    def subscribe(self) -> None:
        self.consumer.subscribe([self._topic], listener=self)

    def on_partitions_revoked(self, _revoked: Collection[TopicPartition]) -> None:
        """Never awaits: aiokafka sends no heartbeat while this method runs."""
        self.partitions = frozenset()
        self.changed.set()

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self.consumer.pause(*assigned)
        self.partitions = frozenset(tp.partition for tp in assigned)
        self.changed.set()

    async def commit(self, positions: dict[TopicPartition, int]) -> None:
        """Commit the folded offsets. They are for lag monitoring only: no feeder starts from them.

        Raises:
            KafkaError: Kafka did not commit. The next call commits newer offsets.
        """
        held = {
            tp: OffsetAndMetadata(offset, "") for tp, offset in positions.items() if tp.partition in self.partitions
        }
        if held:
            await self.consumer.commit(held)

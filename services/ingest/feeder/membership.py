"""Knows which partitions of `upload-events` are ours: a consumer group that carries the assignment and nothing else."""

import asyncio
from collections.abc import Collection

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.structs import OffsetAndMetadata

from schemas import groups, topics
from schemas.settings import Settings
from services.runtime.kafka import make_consumer, topic_name

_NEVER_MS = 2**31 - 1
"""A member that idles too long is put out by aiokafka and never let in again; ours fetches nothing by design."""


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]
    """The partitions held now. `changed` is set at each revoke and each assignment."""

    def __init__(self, settings: Settings) -> None:
        self.partitions: frozenset[int] = frozenset()
        self.changed = asyncio.Event()
        self._topic = topic_name(topics.UPLOAD_EVENTS, settings)
        self.consumer: AIOKafkaConsumer = make_consumer(settings, group=groups.FEEDER, max_poll_interval_ms=_NEVER_MS)

    def subscribe(self) -> None:
        self.consumer.subscribe([self._topic], listener=self)

    def on_partitions_revoked(self, _revoked: Collection[TopicPartition]) -> None:
        """Nothing is awaited here: aiokafka sends no heartbeat meanwhile."""
        self.partitions = frozenset()
        self.changed.set()

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self.consumer.pause(*assigned)
        self.partitions = frozenset(tp.partition for tp in assigned)
        self.changed.set()

    async def commit(self, positions: dict[TopicPartition, int]) -> None:
        """Commits how far the log is folded: for lag monitoring only, nothing starts from it.

        Raises:
            KafkaError: not now; the next one will do.
        """
        held = {
            tp: OffsetAndMetadata(offset, "") for tp, offset in positions.items() if tp.partition in self.partitions
        }
        if held:
            await self.consumer.commit(held)

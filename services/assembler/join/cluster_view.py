"""Reads the progress of the other roles: the ends of the logs, the worker's committed offsets, the gate's status."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from schemas import groups, topics
from schemas.codec import UndecodableRecord, decode
from schemas.lookups import LookupStatus
from schemas.settings import Settings
from schemas.topics import Topic
from schemas.values import EARLIEST
from services.runtime.kafka import (
    admin_client,
    group_name,
    make_consumer,
    partitions_of,
    read_to_end,
    started,
    topic_name,
)

_MILLISECOND = timedelta(milliseconds=1)
"""The lookup worker's consumer group, which is its Faust app's id."""


class ClusterView:
    """A view of the cluster; valid within the block of `open_cluster_view`."""

    def __init__(self, consumer: AIOKafkaConsumer, admin: AIOKafkaAdminClient, settings: Settings) -> None:
        self._consumer = consumer
        self._admin = admin
        self._settings = settings
        self._status: LookupStatus | None = None

    async def ends(self, topic: Topic) -> dict[int, int]:
        """The end of each partition of a topic, now."""
        partitions = await partitions_of(self._consumer, topic_name(topic, self._settings))
        return {tp.partition: end for tp, end in (await self._consumer.end_offsets(partitions)).items()}

    async def worker_reached(self, ends: Mapping[int, int]) -> bool:
        """Whether the lookup worker has processed `upload-rows` up to these ends."""
        committed = await self._admin.list_consumer_group_offsets(group_name(groups.WORKER, self._settings))
        name = topic_name(topics.UPLOAD_ROWS, self._settings)
        return all(
            end == 0 or _offset(committed.get(TopicPartition(name, partition))) >= end
            for partition, end in ends.items()
        )

    async def gate_that_folded(self, end: int) -> LookupStatus | None:
        """The newest status of a gate, if it has folded `lookup-requests` up to `end`."""
        async for record in read_to_end(self._consumer, self._consumer.assignment()):
            self._remember(record)
        status = self._status
        return status if status is not None and status.folded_offset >= end else None

    def _remember(self, record: ConsumerRecord) -> None:
        try:
            status = decode(LookupStatus, record.value, timestamp_ms=record.timestamp)
        except UndecodableRecord:
            return
        # The status of a gate whose clock was ahead would otherwise stay the newest until that time.
        now_ms = (datetime.now(UTC) - EARLIEST) // _MILLISECOND
        written_at = EARLIEST + max(0, min(record.timestamp, now_ms)) * _MILLISECOND
        status = status.model_copy(update={"at": min(status.at, written_at)})
        if self._status is None or status.at >= self._status.at:
            self._status = status


def _offset(committed: object) -> int:
    return int(getattr(committed, "offset", -1))


@asynccontextmanager
async def open_cluster_view(settings: Settings) -> AsyncIterator[ClusterView]:
    """Connects, and disconnects at the end of the block."""
    async with admin_client(settings) as admin, started(make_consumer(settings)) as consumer:
        consumer.assign(await partitions_of(consumer, topic_name(topics.LOOKUP_STATUS, settings)))
        yield ClusterView(consumer, admin, settings)

"""Measures the lag of the lookup worker on `upload-rows`."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import OffsetAndMetadata

from schemas import groups, topics
from schemas.settings import Settings
from services.runtime.kafka import admin_client, group_name, partitions_of, topic_name

"""The lookup worker's consumer group."""


class WorkerLag:
    """Asks Kafka for the committed offsets of the group. `offset_client` only asks for offsets."""

    def __init__(
        self,
        group: str,
        partitions: list[TopicPartition],
        *,
        admin: AIOKafkaAdminClient,
        offset_client: AIOKafkaConsumer,
    ) -> None:
        self._group = group
        self._partitions = partitions
        self._admin = admin
        self._offset_client = offset_client

    async def rows(self) -> int:
        """Rows that the group has not yet committed. Raises KafkaError."""
        committed = await self._admin.list_consumer_group_offsets(self._group, partitions=self._partitions)
        begins = await self._offset_client.beginning_offsets(self._partitions)
        ends = await self._offset_client.end_offsets(self._partitions)
        return sum(lag_of(tp, committed, begin=begins[tp], end=ends[tp]) for tp in self._partitions)


def lag_of(tp: TopicPartition, committed: Mapping[TopicPartition, OffsetAndMetadata], *, begin: int, end: int) -> int:
    """Unread records of a partition. All of them are unread for a group that never committed an offset there."""
    found = committed.get(tp)
    position = begin if found is None else max(begin, found.offset)
    return max(0, end - position)


@asynccontextmanager
async def measuring_lag(settings: Settings, *, offset_client: AIOKafkaConsumer) -> AsyncIterator[WorkerLag]:
    """Yield a `WorkerLag` whose clients are open while the block lasts."""
    rows = await partitions_of(offset_client, topic_name(topics.UPLOAD_ROWS, settings))
    async with admin_client(settings) as admin:
        yield WorkerLag(group_name(groups.WORKER, settings), rows, admin=admin, offset_client=offset_client)

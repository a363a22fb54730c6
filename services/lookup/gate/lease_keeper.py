"""Keeps the lease: one consumer group on the single partition of `lookup-requests`, and a commit twice a second."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, OffsetAndMetadata, TopicPartition
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import KafkaError

from schemas import groups, topics
from schemas.settings import Settings
from services.lookup.gate.clock import boot_time
from services.lookup.gate.lease import LEASE_SECONDS, RENEW_SECONDS, Lease
from services.runtime.kafka import make_consumer, start_client, topic_name

SESSION_MS = 6_000
HEARTBEAT_MS = 500
_NEVER_MS = 10**10
_RESTART_SECONDS = 1.0
log = logging.getLogger(__name__)


class LeaseKeeper(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Reports the changes in the group to `lease`, and renews it. Its callbacks never wait."""

    def __init__(
        self, settings: Settings, lease: Lease, *, offset: Callable[[], int], on_change: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._lease = lease
        self._offset = offset
        self._on_change = on_change
        self._partition = TopicPartition(topic_name(topics.LOOKUP_REQUESTS, settings), 0)
        self._consumer: AIOKafkaConsumer | None = None
        self.error: str | None = None

    async def run(self) -> None:
        """Keeps the lease until cancelled. Then leaves the group, so that a standby need not wait for the session."""
        while True:
            consumer = self._consumer = self._make_consumer()
            consumer.subscribe([self._partition.topic], listener=self)
            try:
                await start_client(consumer)
                self.error = None
                while True:
                    await self._renew(consumer)
            except KafkaError as error:
                self.error = f"the lease's group failed: {type(error).__name__}"
                log.warning("%s; joining again", self.error)
            finally:
                self._lease.revoked()
                self._on_change()
                with suppress(KafkaError):
                    await consumer.stop()
            await asyncio.sleep(_RESTART_SECONDS)

    def on_partitions_revoked(self, revoked: object) -> None:  # noqa: ARG002 - the listener's signature
        self._lease.revoked()
        self._on_change()

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        if self._partition in assigned and self._consumer is not None:
            self._consumer.pause(self._partition)
            self._lease.assigned(boot_time(), generation=self._consumer._coordinator.generation)
        self._on_change()

    async def _renew(self, consumer: AIOKafkaConsumer) -> None:
        began_at = boot_time()
        # This reads no record. It raises errors of the group's background tasks, which would be lost otherwise.
        await consumer.getmany(timeout_ms=0)

        async def commit() -> None:
            await consumer.commit({self._partition: OffsetAndMetadata(self._offset(), "")})

        await renew(self._lease, commit)
        self._on_change()
        await asyncio.sleep(max(0.05, began_at + RENEW_SECONDS - boot_time()))

    def _make_consumer(self) -> AIOKafkaConsumer:
        return make_consumer(
            self._settings,
            group=groups.GATE,
            partition_assignment_strategy=(StickyPartitionAssignor,),
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            # This consumer never polls a record: only its background heartbeat keeps it in the group.
            max_poll_interval_ms=_NEVER_MS,
            rebalance_timeout_ms=SESSION_MS,
        )


async def renew(lease: Lease, commit: Callable[[], Awaitable[None]], *, clock: Callable[[], float] = boot_time) -> None:
    """Tries to prove by a commit that this process owns the partition. The lease counts from before the commit."""
    renewal = lease.begin_renewal(clock())
    if renewal is None:
        return
    try:
        await asyncio.wait_for(commit(), LEASE_SECONDS)
    except (KafkaError, TimeoutError) as error:
        lease.failed(renewal)
        log.warning("the lease was not renewed: %s", type(error).__name__)
    else:
        lease.succeeded(renewal)

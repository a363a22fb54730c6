"""Watches how far this worker has read: lets `lookup` begin once `remember` has caught up, detects a stuck worker."""

import asyncio
import logging
from collections.abc import Hashable, Mapping
from contextlib import AsyncExitStack
from time import monotonic
from typing import Any, Final

import faust
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from faust.exceptions import ConsistencyError

from schemas import groups, topics
from schemas.settings import Settings
from services.lookup.worker.read_positions import Partition, ReadPositions
from services.lookup.worker.table_folder import wipe
from services.runtime.heartbeat import PartHealth
from services.runtime.kafka import admin_client, group_name, make_consumer, started, topic_name
from services.runtime.stuck import Stuck, StuckDetector

FAR_BEHIND_RECORDS: Final = 2_000
PATIENCE_SECONDS: Final = 60.0
INTERVAL_SECONDS: Final = 0.25
QUERY_SECONDS: Final = 20.0
"""A longer query of offsets is cancelled, so that it cannot hide a stuck process."""
log = logging.getLogger("worker")


class Crashed(Exception):
    """Faust has crashed."""


class ReadProgress:
    """The position and the end of each partition of the present assignment."""

    def __init__(self, app: faust.App, settings: Settings, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._app = app
        self._settings = settings
        self._rows = topic_name(topics.UPLOAD_ROWS, settings)
        self._results = topic_name(topics.LOOKUP_RESULTS, settings)
        self._generation: int | None = None
        self._positions: ReadPositions | None = None
        self._processed: dict[Partition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._attempts = 0
        self._detector = StuckDetector(patience_seconds)
        self._stuck = False

    def attempted(self) -> None:
        """Work on some records begins. The number of attempts on one batch is bounded."""
        self._attempts += 1

    def processed(self, next_offsets: Mapping[Partition, int]) -> None:
        """All records before these offsets are processed, and their effects are acknowledged."""
        self._processed |= next_offsets
        if self._positions is not None:
            for partition, offset in next_offsets.items():
                self._positions.advance(partition, offset)

    def remembers_enough(self) -> bool:
        """Whether the table has all results that existed at assignment, and is not far behind now."""
        positions = self._present_positions()
        return (
            positions is not None
            and positions.passed_ends(self._results)
            and positions.lag(self._ends, self._results) <= FAR_BEHIND_RECORDS
        )

    def health(self) -> PartHealth:
        """The health that this worker reports on `part-status`."""
        if self._stuck:
            return PartHealth("stuck", active=False, error=f"no progress for {self._detector.patience_seconds:.0f} s")
        if not self.remembers_enough():
            return PartHealth("starting", active=False)
        return PartHealth("running", active=bool(self._positions and self._positions.positions))

    async def watch(self) -> None:
        """Runs until it is cancelled.

        Raises:
            Crashed: Faust has crashed.
            Stuck: for too long there was work and none was done.
        """
        async with AsyncExitStack() as stack:
            consumer = await stack.enter_async_context(started(make_consumer(self._settings)))
            admin = await stack.enter_async_context(admin_client(self._settings))
            while True:
                self._raise_if_crashed()
                try:
                    async with asyncio.timeout(QUERY_SECONDS):
                        await self._query_offsets(consumer, admin)
                except (KafkaError, TimeoutError) as error:
                    log.warning("could not read offsets: %s", type(error).__name__)
                self._raise_if_stuck()
                await asyncio.sleep(INTERVAL_SECONDS)

    async def _query_offsets(self, consumer: AIOKafkaConsumer, admin: AIOKafkaAdminClient) -> None:
        generation = self._app.consumer_generation_id
        if self._app.rebalancing or not generation:
            return
        partitions = [
            TopicPartition(*tp) for tp in self._app.consumer.assignment() if tp.topic in (self._rows, self._results)
        ]
        self._ends = await consumer.end_offsets(partitions) if partitions else {}
        if generation != self._generation:
            begins = await consumer.beginning_offsets(partitions) if partitions else {}
            offsets = await admin.list_consumer_group_offsets(group_name(groups.WORKER, self._settings))
            committed = {tp: meta.offset for tp, meta in offsets.items()}
            if self._app.rebalancing or self._app.consumer_generation_id != generation:
                return
            self._positions = ReadPositions.begin(
                ends=self._ends, begins=begins, committed=committed, processed=self._processed
            )
            self._generation = generation

    def _present_positions(self) -> ReadPositions | None:
        present = not self._app.rebalancing and self._generation == self._app.consumer_generation_id
        return self._positions if present else None

    def _raise_if_crashed(self) -> None:
        if not self._app.crashed:
            return
        reason = self._app.crash_reason
        log.error("Faust crashed: %r", reason)
        if isinstance(reason, ConsistencyError):
            log.error("the local table is ahead of its changelog: removing it, the changelog rebuilds it")
            wipe(self._app.conf.datadir)
        raise Crashed from reason

    def _raise_if_stuck(self) -> None:
        positions = self._present_positions()
        work_left = positions is None or positions.lag(self._ends) > 0
        self._stuck = self._detector.is_stuck(now=monotonic(), work_left=work_left, progress=self._done())
        if self._stuck:
            patience_seconds = self._detector.patience_seconds
            log.error("rebalancing: %s; records behind: %s; to recover: %s", *self._state())
            raise Stuck(f"there is work but none was done for {patience_seconds:.0f} s")

    def _state(self) -> tuple[bool, int | None, int]:
        tables: Any = self._app.tables
        lag = None if self._positions is None else self._positions.lag(self._ends)
        return self._app.rebalancing, lag, tables.recovery.active_remaining_total()

    def _done(self) -> Hashable:
        processed = sum(self._positions.positions.values()) if self._positions else 0
        tables: Any = self._app.tables
        return self._app.consumer_generation_id, processed, self._attempts, tables.recovery.active_remaining_total()

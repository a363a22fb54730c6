"""Watches how far this worker has read: opens `lookup` once `remember` caught up, and finds out when it is stuck."""

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
from services.lookup.worker.read_position import Partition, Reading
from services.lookup.worker.table_folder import wipe
from services.runtime.heartbeat import PartHealth
from services.runtime.kafka import admin_client, group_name, make_consumer, started, topic_name
from services.runtime.stuck import Stuck, StuckDetector

FAR_BEHIND_RECORDS: Final = 2_000
PATIENCE_SECONDS: Final = 60.0
INTERVAL_SECONDS: Final = 0.25
LOOK_SECONDS: Final = 20.0
"""A look that takes longer than this is given up, so that it cannot hide a process that is stuck."""
log = logging.getLogger("worker")


class Crashed(Exception):
    """Faust ended itself."""


class Progress:
    """How far each assigned partition is processed, against where it ends, as of the present assignment."""

    def __init__(self, app: faust.App, settings: Settings, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._app = app
        self._settings = settings
        self._rows = topic_name(topics.UPLOAD_ROWS, settings)
        self._results = topic_name(topics.LOOKUP_RESULTS, settings)
        self._generation: int | None = None
        self._reading: Reading | None = None
        self._processed: dict[Partition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._attempts = 0
        self._detector = StuckDetector(patience_seconds)
        self._stuck = False

    def attempted(self) -> None:
        """Notes that work on some records begins. There is an end to the attempts on one batch."""
        self._attempts += 1

    def processed(self, next_offsets: Mapping[Partition, int]) -> None:
        """Notes that everything before these offsets is safely done."""
        self._processed |= next_offsets
        if self._reading is not None:
            for partition, offset in next_offsets.items():
                self._reading.advance(partition, offset)

    def remembers_enough(self) -> bool:
        """Whether the table holds what `lookup-results` held at assignment, and is not far behind it now."""
        reading = self._present_reading()
        return (
            reading is not None
            and reading.passed_ends(self._results)
            and reading.lag(self._ends, self._results) <= FAR_BEHIND_RECORDS
        )

    def health(self) -> PartHealth:
        """What this worker says of itself on `part-status`."""
        if self._stuck:
            return PartHealth("stuck", active=False, error=f"no progress for {self._detector.patience_seconds:.0f} s")
        if not self.remembers_enough():
            return PartHealth("starting", active=False)
        return PartHealth("running", active=bool(self._reading and self._reading.positions))

    async def watch(self) -> None:
        """Runs for as long as the process.

        Raises:
            Crashed: Faust did.
            Stuck: there is work and nothing got done for too long.
        """
        async with AsyncExitStack() as stack:
            consumer = await stack.enter_async_context(started(make_consumer(self._settings)))
            admin = await stack.enter_async_context(admin_client(self._settings))
            while True:
                self._raise_if_crashed()
                try:
                    async with asyncio.timeout(LOOK_SECONDS):
                        await self._look(consumer, admin)
                except (KafkaError, TimeoutError) as error:
                    log.warning("could not read offsets: %s", type(error).__name__)
                self._raise_if_stuck()
                await asyncio.sleep(INTERVAL_SECONDS)

    async def _look(self, consumer: AIOKafkaConsumer, admin: AIOKafkaAdminClient) -> None:
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
            self._reading = Reading.begin(
                ends=self._ends, begins=begins, committed=committed, processed=self._processed
            )
            self._generation = generation

    def _present_reading(self) -> Reading | None:
        present = not self._app.rebalancing and self._generation == self._app.consumer_generation_id
        return self._reading if present else None

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
        reading = self._present_reading()
        work_left = reading is None or reading.lag(self._ends) > 0
        self._stuck = self._detector.is_stuck(now=monotonic(), work_left=work_left, progress=self._done())
        if self._stuck:
            patience_seconds = self._detector.patience_seconds
            log.error("rebalancing: %s; records behind: %s; to recover: %s", *self._state())
            raise Stuck(f"there is work but none was done for {patience_seconds:.0f} s")

    def _state(self) -> tuple[bool, int | None, int]:
        tables: Any = self._app.tables
        lag = None if self._reading is None else self._reading.lag(self._ends)
        return self._app.rebalancing, lag, tables.recovery.active_remaining_total()

    def _done(self) -> Hashable:
        processed = sum(self._reading.positions.values()) if self._reading else 0
        tables: Any = self._app.tables
        return self._app.consumer_generation_id, processed, self._attempts, tables.recovery.active_remaining_total()

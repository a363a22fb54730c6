"""Runs the feeder: joins the group, works for the assigned partitions, and watches the worker's lag and its own."""

import asyncio
import logging
import time
from contextlib import suppress
from datetime import UTC, datetime

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from schemas import topics
from schemas.settings import Settings
from services.ingest.feeder.assignment import Assignment
from services.ingest.feeder.bad_records import BadRecordOutbox
from services.ingest.feeder.feeding import Outlet
from services.ingest.feeder.lag import measuring_lag
from services.ingest.feeder.membership import Membership
from services.ingest.feeder.preparation.reader_process import warm_up
from services.ingest.feeder.spool import Spool
from services.ingest.feeder.watchdog import PartitionWatchdog
from services.ingest.feeder.window import Pace
from services.ingest.sending import Sender
from services.runtime.heartbeat import Heartbeat, PartHealth
from services.runtime.kafka import make_consumer, make_producer, started, topic_name

PRELOADED_MODULES = [
    "services.ingest.feeder.preparation.reader_child",
    "services.ingest.feeder.preparation.read_file",
]
"""What every child process needs. A module that does not exist would be skipped silently."""
WATCH_SECONDS = 1.0
SAVE_AT_STOP_SECONDS = 5.0
log = logging.getLogger(__name__)


class ConsumesNothing(Exception):
    """Records are unread and none was read for a minute. Only a new process helps."""


async def main(settings: Settings, stop: asyncio.Event) -> None:
    """Feed until `stop` is set.

    Raises:
        RefusedToStart: another feeder uses the same folder.
    """
    warm_up(PRELOADED_MODULES)
    with Spool(settings) as spool:
        membership = Membership(settings)
        async with (
            Sender(settings) as sender,
            started(make_producer(settings)) as producer,
            started(make_consumer(settings)) as offset_client,
            started(membership.consumer),
        ):
            feeder = Feeder(settings, spool=spool, sender=sender, offset_client=offset_client, membership=membership)
            async with Heartbeat(producer, settings, role="feeder", health=feeder.health):
                await feeder.run(stop)


class Feeder:
    """One member of the group. `offset_client` only asks for offsets."""

    def __init__(
        self,
        settings: Settings,
        *,
        spool: Spool,
        sender: Sender,
        offset_client: AIOKafkaConsumer,
        membership: Membership,
    ) -> None:
        self._settings = settings
        self._spool = spool
        self._sender = sender
        self._offset_client = offset_client
        self._membership = membership
        self._pace = Pace()
        self._bad_records = BadRecordOutbox(settings)
        self._assignment: Assignment | None = None
        self._watchdog = PartitionWatchdog()

    def health(self) -> PartHealth:
        if self._assignment is None:
            return PartHealth(state="standby", active=False)
        return PartHealth(state="running", active=self._assignment.is_busy, error=self._assignment.error)

    async def run(self, stop: asyncio.Event) -> None:
        """Work for the assigned partitions until `stop` is set.

        Raises:
            ExceptionGroup, ConsumesNothing: the process must restart.
        """
        self._membership.subscribe()
        watching = asyncio.create_task(self._watch())
        try:
            while not stop.is_set():
                self._membership.changed.clear()
                await self._work_until_changed(stop, watching)
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching

    async def _work_until_changed(self, stop: asyncio.Event, watching: "asyncio.Task[None]") -> None:
        work = asyncio.create_task(self._work_for(self._membership.partitions))
        signals = {asyncio.create_task(stop.wait()), asyncio.create_task(self._membership.changed.wait())}
        try:
            done, _ = await asyncio.wait({work, watching, *signals}, return_when=asyncio.FIRST_COMPLETED)
            for ended in done & {work, watching}:
                ended.result()
        finally:
            for task in {work, *signals}:
                task.cancel()
            await asyncio.gather(work, *signals, return_exceptions=True)
        if stop.is_set() and self._assignment is not None:
            with suppress(KafkaError, TimeoutError):
                async with asyncio.timeout(SAVE_AT_STOP_SECONDS):
                    await self._assignment.save_checkpoints()
        self._assignment = None

    async def _work_for(self, partitions: frozenset[int]) -> None:
        if not partitions:
            await asyncio.Event().wait()
        async with started(make_consumer(self._settings)) as reader:
            outlet = await self._outlet()
            assignment = Assignment(
                partitions,
                outlet=outlet,
                spool=self._spool,
                reader=reader,
                pace=self._pace,
                bad_records=self._bad_records,
            )
            reader.assign(assignment.partitions)
            log.info("working for %d of %d partitions", len(partitions), outlet.upload_partitions)
            self._assignment = assignment
            await assignment.run()

    async def _outlet(self) -> Outlet:
        producer = self._sender.producer
        rows = await producer.partitions_for(topic_name(topics.UPLOAD_ROWS, self._settings))
        events = await producer.partitions_for(topic_name(topics.UPLOAD_EVENTS, self._settings))
        return Outlet(
            sender=self._sender,
            settings=self._settings,
            row_partitions=len(rows),
            upload_partitions=len(events),
            clock=time.monotonic,
            now=lambda: datetime.now(UTC),
        )

    async def _watch(self) -> None:
        """Measure the worker's lag each second, check that this feeder reads, and commit its position."""
        async with measuring_lag(self._settings, offset_client=self._offset_client) as lag:
            while True:
                with suppress(KafkaError, TimeoutError):
                    if self._assignment is not None and self._assignment.is_busy:
                        self._pace.lag_rows = await lag.rows()
                    await self._check_own_progress()
                await asyncio.sleep(WATCH_SECONDS)

    async def _check_own_progress(self) -> None:
        assignment = self._assignment
        if assignment is None:
            return
        positions = assignment.positions()
        begins = await self._offset_client.beginning_offsets(list(positions))
        ends = await self._offset_client.end_offsets(list(positions))
        positions = {tp: max(position, begins[tp]) for tp, position in positions.items()}
        if self._watchdog.is_stuck(positions, ends, now=time.monotonic()):
            raise ConsumesNothing("upload-events has unread records and none was read for a minute")
        await self._membership.commit(positions)

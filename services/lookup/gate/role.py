"""Runs the gate, the only caller of the lookup API: composes the scheduler with Kafka, the lease and HTTP."""

import asyncio
import gc
import logging
import random
from contextlib import suppress
from time import monotonic, monotonic_ns

from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from schemas import topics
from schemas.codec import encode
from schemas.lookups import LookupStatus
from schemas.settings import Settings
from services.lookup.gate.dispatcher import Dispatcher
from services.lookup.gate.http_caller import HttpCaller
from services.lookup.gate.leader import Leader
from services.lookup.gate.lease import Lease
from services.lookup.gate.lease_keeper import LeaseKeeper
from services.lookup.gate.limiter import Limiter
from services.lookup.gate.log_reader import FoldReader, NoSuchTopic
from services.lookup.gate.outbox import Outbox
from services.lookup.gate.recorder import Recorder
from services.lookup.gate.scheduler import CallScheduler
from services.lookup.gate.status import compose_status, shorter_status
from services.lookup.providers.registry import UnusableUrl, make_provider
from services.runtime.heartbeat import Heartbeat, PartHealth
from services.runtime.kafka import topic_name
from services.runtime.process import RefusedToStart
from services.runtime.stuck import Stuck, StuckDetector

WATCH_SECONDS = 10.0
STUCK_SECONDS = 60.0
STATUS_SECONDS = 0.5
STATUS_AT_LEAST_SECONDS = 5.0
DRAIN_SECONDS = 10.0
LAST_WORD_SECONDS = 2.0
LEAVE_SECONDS = 5.0
GC_THRESHOLDS = (10_000, 50, 1_000)
"""Young objects are collected as usual, the whole heap almost never: see `Leader`."""
log = logging.getLogger(__name__)


class Gate:
    """One candidate. It always folds the log, and makes calls while it leads: see `Leader`."""

    def __init__(self, settings: Settings, outbox: Outbox, caller: HttpCaller, limiter: Limiter) -> None:
        self.scheduler = CallScheduler(
            provider=settings.provider,
            max_attempts=settings.max_attempts,
            random=random.random,
            keep_days=settings.keep_days,
        )
        self.lease = Lease(window_seconds=settings.window_seconds)
        self.limiter = limiter
        self._settings = settings
        self._outbox = outbox
        self.recorder = Recorder(outbox, self.scheduler, may_record=self.may_write)
        self.dispatcher = Dispatcher(
            self.scheduler, limiter, caller, self.recorder, rate=settings.rate, may_write=self.may_write
        )
        self.leader = Leader(
            self.scheduler, self.lease, put_aside=self.recorder.put_aside, on_change=self.dispatcher.wake
        )
        self.reader = FoldReader(
            settings, self.scheduler.fold, on_change=self.dispatcher.wake, on_bad_record=self.leader.found_bad_record
        )
        self.keeper = LeaseKeeper(
            settings, self.lease, offset=lambda: self.scheduler.fold.folded_offset, on_change=self.leader.lease_changed
        )

    def may_write(self) -> bool:
        """Whether a call, or anything but a paid answer, may be written now."""
        return self.leader.may_write()

    async def watch(self) -> None:
        """Raises Stuck when the log grows and nothing is folded: a consumer can be alive and read nothing."""
        detector = StuckDetector(STUCK_SECONDS)
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                lag = await asyncio.wait_for(self.reader.lag(), STUCK_SECONDS)
            except (KafkaError, TimeoutError):
                lag = 1
            if detector.is_stuck(now=monotonic(), work_left=lag > 0, progress=self.reader.records_read):
                raise Stuck(f"{lag} records wait to be folded and none was read for {STUCK_SECONDS:.0f} s")

    # -- status

    @property
    def error(self) -> str | None:
        return self._outbox.error or self.recorder.error or self.reader.error or self.keeper.error

    def health(self) -> PartHealth:
        return PartHealth(
            "running" if self.leader.leads else "standby", self.leader.leads, self.error or self.scheduler.health.error
        )

    def status(self) -> LookupStatus:
        return compose_status(
            self.scheduler,
            self.limiter,
            instance=self._settings.instance,
            now=self.scheduler.clock.now(),
            now_ns=monotonic_ns(),
            error=self.error,
        )

    async def publish_statuses(self) -> None:
        """Publishes twice a second if something has changed, else every five seconds; only while it leads."""
        last: LookupStatus | None = None
        while True:
            await asyncio.sleep(STATUS_SECONDS)
            if not self.leader.leads:
                continue
            status = self.status()
            if last is not None and not _is_due(last, status):
                continue
            last = status
            try:
                await self.publish(status)
            except KafkaError as error:
                log.warning("could not publish the status: %s", type(error).__name__)

    async def publish(self, status: LookupStatus) -> None:
        topic = topic_name(topics.LOOKUP_STATUS, self._settings)
        try:
            await self._outbox.send_and_wait(topic, encode(status), key=b"0")
        except (MessageSizeTooLargeError, RecordListTooLargeError):
            shorter = shorter_status(status)
            if shorter is None:
                raise
            await self.publish(shorter)


def _is_due(last: LookupStatus, status: LookupStatus) -> bool:
    if (status.at - last.at).total_seconds() >= STATUS_AT_LEAST_SECONDS:
        return True
    return status.model_copy(update={"at": last.at}) != last


async def main(settings: Settings, stop: asyncio.Event) -> None:
    """Runs one candidate until `stop` is set.

    Raises:
        RefusedToStart: the provider's URL cannot be called, Kafka does not answer, or a topic is missing.
        Stuck: nothing is folded although the log grows. Only a new start helps.
    """
    gc.set_threshold(*GC_THRESHOLDS)
    limiter = Limiter(rate=settings.rate, window_ns=round(settings.window_seconds * 1e9), strict=settings.strict_window)
    try:
        provider = make_provider(settings)
    except UnusableUrl as error:
        raise RefusedToStart(str(error)) from error
    outbox = Outbox(settings)
    try:
        await outbox.start()
    except KafkaError as error:
        await outbox.stop()
        raise RefusedToStart(
            f"Kafka does not answer at {settings.kafka} ({type(error).__name__}): is it running, is SCRUB_KAFKA right?"
        ) from error
    try:
        caller = HttpCaller(provider, limiter, timeout_seconds=settings.lookup_timeout_seconds)
        async with caller:
            gate = Gate(settings, outbox, caller, limiter)
            async with Heartbeat(outbox, settings, role="gate", health=gate.health):
                await _run(gate, stop)
    finally:
        await outbox.stop()


async def _run(gate: Gate, stop: asyncio.Event) -> None:
    """Runs the parts of the gate until `stop` is set or one of them ends.

    1. Run the parts.
    2. Start no new call; wait until all replies and tombstones are on the log.
    3. Publish that no gate is active.
    4. Leave the group.
    """
    # 1. Run the parts.
    stopping = asyncio.create_task(stop.wait())
    parts = [
        asyncio.create_task(part)
        for part in (
            gate.reader.run(),
            gate.keeper.run(),
            gate.leader.run(gate.reader),
            gate.dispatcher.run(),
            gate.recorder.run(),
            gate.recorder.run_refusals(),
            gate.publish_statuses(),
            gate.watch(),
        )
    ]
    try:
        done, _ = await asyncio.wait([stopping, *parts], return_when=asyncio.FIRST_COMPLETED)
        # 2. Drain.
        await gate.dispatcher.drain(DRAIN_SECONDS)
        await gate.recorder.drain(DRAIN_SECONDS)
        # 3. Publish the last status.
        if gate.leader.leads:
            with suppress(KafkaError, TimeoutError):
                async with asyncio.timeout(LAST_WORD_SECONDS):
                    await gate.publish(gate.status().model_copy(update={"state": "no_gate", "next": ()}))
        for part in done - {stopping}:
            part.result()
    except NoSuchTopic as error:
        raise RefusedToStart(str(error)) from error
    finally:
        # 4. Leave the group: `LeaseKeeper.run` does so when it is cancelled.
        for part in (stopping, *parts):
            part.cancel()
        await asyncio.wait(parts, timeout=LEAVE_SECONDS)

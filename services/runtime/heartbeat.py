"""Owns a process's heartbeat on `part-status`: every five seconds what it does, and at its end why it ends."""

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas import topics
from schemas.codec import UndecodableRecord, decode, encode
from schemas.parts import PartState, PartStatus, Role, part_key
from schemas.settings import Settings
from services.runtime.kafka import make_consumer, partitions_of, read_to_end, started, topic_name
from services.runtime.restarts import Past, end_by, past_of

INTERVAL_SECONDS = 5.0
LAST_WORD_SECONDS = 2.0
_LONGEST_ERROR = 500
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PartHealth:
    """How a role is. `active`: it does work now; `error`: its last one, without personal data."""

    state: PartState
    active: bool
    error: str | None = None


class Heartbeat:
    """Publishes a role's health until the block ends, and once more when it ends."""

    def __init__(
        self, producer: AIOKafkaProducer, settings: Settings, *, role: Role, health: Callable[[], PartHealth]
    ) -> None:
        self._producer = producer
        self._settings = settings
        self._role = role
        self._health = health
        self._started_at = datetime.now(UTC)
        self._past = Past((self._started_at,))
        self._task: asyncio.Task[None] | None = None
        self._last_published: PartHealth | None = None

    async def __aenter__(self) -> "Heartbeat":
        try:
            self._past = past_of(await self._last_heard(), now=self._started_at)
        except (KafkaError, LookupError) as error:
            log.warning("nothing is known of the process before this one: %s", type(error).__name__)
        if self._past.last_end is not None:
            log.warning("the process before this one %s", self._past.last_end)
        self._task = asyncio.create_task(self._publish_until_cancelled())
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        if error is None or isinstance(error, asyncio.CancelledError):
            await self._last_word(self._health().error)
        else:
            await self.ending_by(error)

    async def ending_by(self, error: BaseException) -> None:
        """Publishes that this error ends the process. For a role that ends without leaving the block."""
        if self._task is not None:
            # It would take the last word for a change, and publish the health of before.
            self._task.cancel()
        await self._last_word(end_by(error))

    async def _last_word(self, error: str | None) -> None:
        with suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(LAST_WORD_SECONDS):
                await self._publish(PartHealth(state="stopping", active=False, error=error))

    async def _last_heard(self) -> PartStatus | None:
        """The last heartbeat of this role and instance."""
        wanted = part_key(self._role, self._settings.instance).encode()
        found: PartStatus | None = None
        async with started(make_consumer(self._settings)) as consumer:
            partitions = await partitions_of(consumer, topic_name(topics.PART_STATUS, self._settings))
            consumer.assign(partitions)
            async for record in read_to_end(consumer, partitions):
                if record.key == wanted:
                    with suppress(UndecodableRecord):
                        found = decode(PartStatus, record.value, timestamp_ms=record.timestamp)
        return found

    async def _publish_until_cancelled(self) -> None:
        while True:
            try:
                await self._publish(self._health())
            except Exception as error:
                # Whatever is wrong with one heartbeat, the next may be right; without any the part counts as down.
                log.warning("could not publish the heartbeat: %s", type(error).__name__)
            await self._wait_for_change()

    async def _wait_for_change(self) -> None:
        """Returns after the interval, or as soon as the health changes."""
        deadline = asyncio.get_running_loop().time() + INTERVAL_SECONDS
        while asyncio.get_running_loop().time() < deadline and self._health() == self._last_published:
            await asyncio.sleep(0.25)

    async def _publish(self, health: PartHealth) -> None:
        status = PartStatus(
            role=self._role,
            instance=self._settings.instance,
            pid=os.getpid(),
            state=health.state,
            active=health.active,
            started_at=self._started_at,
            seen_at=datetime.now(UTC),
            error=None if health.error is None else health.error.replace("\x00", "")[:_LONGEST_ERROR],
            starts=self._past.starts,
            last_end=self._past.last_end,
        )
        self._last_published = health
        topic = topic_name(topics.PART_STATUS, self._settings)
        await self._producer.send_and_wait(topic, encode(status), key=status.key.encode())

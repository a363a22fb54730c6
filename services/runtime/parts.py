"""Tells every five seconds on `part-status` that this process lives and what it is doing."""

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas import topics
from schemas.codec import encode
from schemas.parts import PartState, PartStatus, Role
from schemas.settings import Settings
from services.runtime.kafka import topic_name

INTERVAL_SECONDS = 5.0
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Health:
    """What a role says of itself. `active`: it does work now; `error`: its last one, without personal data."""

    state: PartState
    active: bool
    error: str | None = None


class SignOfLife:
    """Publishes a role's health until the block ends, and a last time when it stops."""

    def __init__(
        self, producer: AIOKafkaProducer, settings: Settings, *, role: Role, health: Callable[[], Health]
    ) -> None:
        self._producer = producer
        self._settings = settings
        self._role = role
        self._health = health
        self._started_at = datetime.now(UTC)
        self._task: asyncio.Task[None] | None = None
        self._last_published: Health | None = None

    async def __aenter__(self) -> "SignOfLife":
        self._task = asyncio.create_task(self._publish_for_ever())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        with suppress(KafkaError):
            await self._publish(Health(state="stopping", active=False, error=self._health().error))

    async def _publish_for_ever(self) -> None:
        while True:
            try:
                await self._publish(self._health())
            except KafkaError as error:
                log.warning("could not publish the sign of life: %s", type(error).__name__)
            await self._wait_for_news()

    async def _wait_for_news(self) -> None:
        """Returns after the interval, or as soon as the health changes."""
        deadline = asyncio.get_running_loop().time() + INTERVAL_SECONDS
        while asyncio.get_running_loop().time() < deadline and self._health() == self._last_published:
            await asyncio.sleep(0.25)

    async def _publish(self, health: Health) -> None:
        status = PartStatus(
            role=self._role,
            instance=self._settings.instance,
            pid=os.getpid(),
            state=health.state,
            active=health.active,
            started_at=self._started_at,
            seen_at=datetime.now(UTC),
            error=health.error,
        )
        self._last_published = health
        topic = topic_name(topics.PART_STATUS, self._settings)
        await self._producer.send_and_wait(topic, encode(status), key=status.key.encode())

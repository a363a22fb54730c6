"""Follows topics without a consumer group while the process lives, and reports whether it still does.

A record that cannot be used is skipped and logged. A broken connection is replaced.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from schemas.codec import UndecodableRecord
from schemas.settings import Settings
from services.runtime.kafka import make_consumer, started

RECONNECT_SECONDS: Final = 2.0
FETCH_WAIT_MS: Final = 100
"""Kafka answers the requests of a connection in order: a request for log ends waits behind a fetch that waits."""
FOLLOWS_SECONDS: Final = 10.0
"""A follower asks Kafka twice a second; one that has not asked for so long counts as stopped."""
Begin = Callable[[AIOKafkaConsumer], Awaitable[dict[TopicPartition, int]]]
Take = Callable[[ConsumerRecord], None]
log = logging.getLogger(__name__)


class Follower:
    """Reads records and passes each to `take`.

    `begin` assigns partitions, seeks, and returns the end offsets; the follower has caught up when it has read to
    them. `begin` runs again on each connection, so records may be read twice.
    """

    def __init__(self, settings: Settings, *, begin: Begin, take: Take) -> None:
        self._settings = settings
        self._begin = begin
        self._take = take
        self._asked_at: float | None = None
        self.caught_up = asyncio.Event()
        self.consumer: AIOKafkaConsumer | None = None

    @property
    def follows(self) -> bool:
        """Whether it has polled Kafka recently; false when its task has ended, hangs, or cannot connect."""
        return self._asked_at is not None and time.monotonic() - self._asked_at < FOLLOWS_SECONDS

    async def run(self) -> None:
        """Follows until cancelled."""
        while True:
            try:
                async with started(make_consumer(self._settings, fetch_max_wait_ms=FETCH_WAIT_MS)) as consumer:
                    self.consumer = consumer
                    await self._follow(consumer)
            except (KafkaError, LookupError, OSError) as error:
                log.warning("stopped following, trying again: %s: %s", type(error).__name__, error)
            except Exception as error:
                log.error("stopped following, trying again: %s", type(error).__name__)  # noqa: TRY400 - no data in logs
            finally:
                self.consumer = None
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        ends = await self._begin(consumer)
        while True:
            batches = await consumer.getmany(timeout_ms=500)
            self._asked_at = time.monotonic()
            for records in batches.values():
                for record in records:
                    self._use(record)
            if not self.caught_up.is_set() and all([await consumer.position(tp) >= end for tp, end in ends.items()]):
                self.caught_up.set()

    def _use(self, record: ConsumerRecord) -> None:
        try:
            self._take(record)
        except UndecodableRecord as error:
            log.warning("skipped %s/%d@%d: %s", record.topic, record.partition, record.offset, error)
        except Exception as error:
            name = type(error).__name__
            # A traceback may show data.
            log.error("skipped %s/%d@%d: %s", record.topic, record.partition, record.offset, name)  # noqa: TRY400

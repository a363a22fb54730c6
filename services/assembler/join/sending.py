"""Decides how the join sends records that Kafka may refuse for their size: it sends those again with shorter values."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from schemas.settings import Settings
from services.runtime.kafka import make_producer
from services.runtime.producers import ReplaceableProducer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to be sent. `shorter` gives a value that fits any broker."""

    key: bytes
    value: bytes
    shorter: Callable[[], bytes]
    headers: Sequence[tuple[str, bytes]] = ()


class ShorteningSender:
    """Sends until the block ends; one batch at a time, whoever asks."""

    def __init__(self, settings: Settings) -> None:
        self._producer = ReplaceableProducer(lambda: make_producer(settings))
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> "ShorteningSender":
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.stop()

    async def send(self, topic: str, records: Sequence[Outgoing]) -> None:
        """Returns when Kafka has them all, whole or shorter.

        Raises:
            KafkaError: Kafka did not take one of them, for another reason than a record's size.
        """
        async with self._turn:
            await self._send_all(topic, records)

    async def _send_all(self, topic: str, records: Sequence[Outgoing]) -> None:
        used = self._producer.current
        attempts = (self._send(topic, each, each.value) for each in records)
        outcomes = await asyncio.gather(*attempts, return_exceptions=True)
        failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if not failures:
            return
        too_large = any(isinstance(failure, MessageSizeTooLargeError) for failure in failures)
        if not too_large or not all(isinstance(failure, KafkaError) for failure in failures):
            raise failures[0]
        unsent = [each for each, outcome in zip(records, outcomes, strict=True) if isinstance(outcome, BaseException)]
        log.warning("%s: Kafka refuses a batch for its size; %d records go out shorter", topic, len(unsent))
        await self._producer.replace(used)
        await asyncio.gather(*(self._send(topic, each, each.shorter()) for each in unsent))

    async def _send(self, topic: str, record: Outgoing, value: bytes) -> None:
        async with self._producer.use() as producer:
            await producer.send_and_wait(topic, value, key=record.key, headers=list(record.headers))

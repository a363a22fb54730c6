"""Writes the gate's records to Kafka, with a new producer whenever one has failed: nothing paid for is ever dropped."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError, ProducerClosed
from aiokafka.partitioner import DefaultPartitioner

from schemas import topics
from schemas.codec import encode
from schemas.lookups import DeadLetter, LookupResult, LookupRetry
from schemas.rows import BadRecord
from schemas.settings import Settings
from schemas.topics import Topic
from services.runtime.kafka import make_producer, topic_name

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0
# aiokafka fails a record within its `request_timeout_ms` of 40 s, except that a send which waits for metadata while its
# producer is stopped waits for ever. Two sends share a producer, and either may stop it.
SEND_TIMEOUT_SECONDS = 60.0
# At 250 calls a second a few results go together; a request each took an eighth of the gate's time.
LINGER_MS = 10
log = logging.getLogger(__name__)
_partition_of = DefaultPartitioner()


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to be written. `partition_key` decides its partition where that is not the key."""

    topic: Topic
    key: str
    value: bytes | None
    partition_key: str | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


class Outbox:
    """Sends until Kafka has acknowledged. `error` says what is wrong while it does not."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: AIOKafkaProducer = make_producer(settings, linger_ms=LINGER_MS)
        self._renewing = asyncio.Lock()
        self._stopped = False  # a stopped producer must not be given a record: see SEND_TIMEOUT_SECONDS
        self.error: str | None = None

    async def start(self) -> None:
        await self._producer.start()

    async def stop(self) -> None:
        self._stopped = True
        with suppress(KafkaError):
            await self._producer.stop()

    async def send_and_wait(self, topic: str, value: bytes, *, key: bytes) -> None:
        """One try with the producer of the moment, for what may be lost: the status, the sign of life.

        Raises:
            KafkaError: it was not acknowledged.
        """
        if self._stopped:
            raise ProducerClosed
        try:
            async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                await self._producer.send_and_wait(topic, value, key=key)
        except TimeoutError as error:
            raise KafkaTimeoutError from error

    async def send(self, *records: Outgoing) -> int:
        """Returns when Kafka has acknowledged all of them: the last one's timestamp, milliseconds since the epoch.

        Retries for ever, so an acknowledged record may be there twice after a producer has failed half-way.
        """
        waiting: Sequence[Outgoing] = records
        pause_seconds = FIRST_PAUSE_SECONDS
        timestamp_ms = 0
        while waiting:
            producer = self._producer
            outcomes = await self._send_all(producer, waiting)
            failed = [each for each, outcome in zip(waiting, outcomes, strict=True) if not isinstance(outcome, int)]
            timestamp_ms = max((stamp for stamp in outcomes if isinstance(stamp, int)), default=timestamp_ms)
            waiting = failed
            if waiting:
                self._note(next(outcome for outcome in outcomes if isinstance(outcome, BaseException)))
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(LONGEST_PAUSE_SECONDS, pause_seconds * 2)
                await self._renew(producer)
        self.error = None
        return timestamp_ms

    async def _send_all(self, producer: AIOKafkaProducer, records: Sequence[Outgoing]) -> list[int | BaseException]:
        """Each record's timestamp, or why it was not acknowledged."""
        if self._stopped:
            return [ProducerClosed()] * len(records)
        try:
            async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                return await asyncio.gather(*(self._send(producer, each) for each in records), return_exceptions=True)
        except TimeoutError:
            return [KafkaTimeoutError()] * len(records)

    async def _send(self, producer: AIOKafkaProducer, record: Outgoing) -> int:
        topic = topic_name(record.topic, self._settings)
        partition = None
        if record.partition_key is not None:
            numbers = sorted(await producer.partitions_for(topic))
            partition = _partition_of(record.partition_key.encode(), numbers, numbers)
        sent = await producer.send_and_wait(
            topic, record.value, key=record.key.encode(), partition=partition, headers=list(record.headers)
        )
        return int(sent.timestamp)

    def _note(self, error: BaseException) -> None:
        if not isinstance(error, KafkaError):
            raise error
        self.error = f"Kafka did not take a record: {type(error).__name__}"
        log.warning("%s; a new producer will send it again", self.error)

    async def _renew(self, failed: AIOKafkaProducer) -> None:
        async with self._renewing:
            if self._producer is not failed:
                return
            self._stopped = True
            with suppress(KafkaError):
                await failed.stop()
            fresh = make_producer(self._settings, linger_ms=LINGER_MS)
            try:
                await fresh.start()
            except KafkaError as error:
                await fresh.stop()
                self._note(error)
            else:
                self._producer = fresh
                self._stopped = False


def result_record(result: LookupResult) -> Outgoing:
    """A failure has a key of its own, so that it never replaces data, on the partition of the phone's other records."""
    return Outgoing(topics.LOOKUP_RESULTS, result.key, encode(result), partition_key=result.phone)


def retry_record(retry: LookupRetry) -> Outgoing:
    return Outgoing(topics.LOOKUP_RETRIES, retry.phone, encode(retry))


def forget_retry_record(phone: str) -> Outgoing:
    return Outgoing(topics.LOOKUP_RETRIES, phone, None)


def tombstones(request_keys: Iterable[str]) -> list[Outgoing]:
    return [Outgoing(topics.LOOKUP_REQUESTS, key, None) for key in request_keys]


def bad_record(record: BadRecord) -> Outgoing:
    return Outgoing(topics.BAD_RECORDS, f"{record.topic}-{record.partition}-{record.offset}", encode(record))


def dead_letter_record(letter: DeadLetter) -> Outgoing:
    """The coordinates and the first and last error are in the headers too, for tools that do not read the value."""
    first, last = letter.errors[0], letter.errors[-1]
    headers = {
        "original-topic": letter.original_topic,
        "original-partition": str(letter.original_partition),
        "original-offset": str(letter.original_offset),
        "attempts": str(letter.attempts),
        "first-error": f"{first.code}: {first.detail}",
        "first-error-at": first.at.isoformat(),
        "last-error": f"{last.code}: {last.detail}",
        "last-error-at": last.at.isoformat(),
    }
    return Outgoing(
        topics.LOOKUP_DEAD_LETTERS,
        letter.phone,
        encode(letter),
        headers=tuple((name, text.encode()) for name, text in headers.items()),
    )

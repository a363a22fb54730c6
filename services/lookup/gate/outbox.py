"""Decides how the gate's records reach Kafka: it tries again with a new producer until Kafka has every record."""

import asyncio
import logging
from collections.abc import Iterator, Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    ProducerClosed,
    RecordListTooLargeError,
)
from aiokafka.partitioner import DefaultPartitioner

from schemas.settings import Settings
from services.lookup.gate.outgoing import LARGE_BYTES, Delivery, OutgoingRecord, Undeliverable
from services.runtime.kafka import make_producer, topic_name
from services.runtime.producers import ReplaceableProducer

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0
# aiokafka fails a record within its `request_timeout_ms` of 40 s, except that a send which waits for metadata while its
# producer is stopped waits for ever, as when the gate ends.
SEND_TIMEOUT_SECONDS = 60.0
# At 250 calls a second a few results go together; a request each took an eighth of the gate's time.
LINGER_MS = 10
_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)
log = logging.getLogger(__name__)
_partition_of = DefaultPartitioner()


class Outbox:
    """Sends until Kafka has acknowledged, or refuses a record for what it is. `error` says what is wrong meanwhile.

    Small records, all that was paid for among them, go by an idempotent producer; large ones by one that is not.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._small = ReplaceableProducer(
            lambda: make_producer(settings, linger_ms=LINGER_MS, max_batch_bytes=2 * LARGE_BYTES)
        )
        self._large = ReplaceableProducer(
            lambda: make_producer(settings, linger_ms=LINGER_MS, max_batch_bytes=LARGE_BYTES, idempotent=False)
        )
        self.error: str | None = None

    async def start(self) -> None:
        await self._small.start()
        await self._large.start()

    async def stop(self) -> None:
        await self._small.stop()
        await self._large.stop()

    async def send_and_wait(self, topic: str, value: bytes, *, key: bytes) -> None:
        """One try with the producer of the moment, for what may be lost: the status, the sign of life.

        Raises:
            KafkaError: it was not acknowledged.
        """
        producer = self._large if len(value) > LARGE_BYTES else self._small
        try:
            async with producer.use() as current, asyncio.timeout(SEND_TIMEOUT_SECONDS):
                await current.send_and_wait(topic, value, key=key)
        except TimeoutError as error:
            raise KafkaTimeoutError from error

    async def send(self, *records: OutgoingRecord) -> list[Delivery]:
        """Returns when Kafka has acknowledged each record, or it is certain that it never will: their outcomes.

        What fails for Kafka's state is tried for ever, so an acknowledged record may be there twice after a producer
        has failed half-way. What fails for the record itself is tried once more, alone, for its batch may be to blame.
        """
        large = [each for each in records if each.is_large]
        small = [each for each in records if not each.is_large]
        by_size = await asyncio.gather(self._send_by(self._large, large), self._send_by(self._small, small))
        self.error = None
        outcomes = {id(each): outcome for part in by_size for each, outcome in part}
        return [outcomes[id(each)] for each in records]

    async def _send_by(
        self, producer: ReplaceableProducer, records: Sequence[OutgoingRecord]
    ) -> list[tuple[OutgoingRecord, Delivery]]:
        done: list[tuple[OutgoingRecord, Delivery]] = []
        alone: list[OutgoingRecord] = []
        for each, outcome in await self._until_settled(producer, records):
            if isinstance(outcome, Undeliverable):
                alone.append(each)
            else:
                done.append((each, outcome))
        for each in alone:
            # By the other producer, if it was the broker that refused the batch: see LARGE_BYTES.
            done.extend(await self._until_settled(self._large, [each]))
        return done

    async def _until_settled(
        self, producer: ReplaceableProducer, records: Sequence[OutgoingRecord]
    ) -> list[tuple[OutgoingRecord, Delivery]]:
        settled: list[tuple[OutgoingRecord, Delivery]] = []
        waiting = list(records)
        pauses = _pauses_seconds()
        while waiting:
            used = producer.current
            outcomes = await _send_each(producer, waiting, settings=self._settings)
            unsettled: list[OutgoingRecord] = []
            errors: list[KafkaError] = []
            for each, outcome in zip(waiting, outcomes, strict=True):
                if isinstance(outcome, KafkaError):
                    unsettled.append(each)
                    errors.append(outcome)
                else:
                    settled.append((each, outcome))
            waiting = unsettled
            if errors:
                self._note(errors[0])
                await self._replace(producer, used, pauses)
        return settled

    async def _replace(self, producer: ReplaceableProducer, failed: AIOKafkaProducer, pauses: Iterator[float]) -> None:
        """Returns once a producer that failed is replaced, however long that takes."""
        while True:
            await asyncio.sleep(next(pauses))
            try:
                await producer.replace(failed)
            except KafkaError as error:
                self._note(error)
            else:
                return

    def _note(self, error: KafkaError) -> None:
        self.error = f"Kafka did not take a record: {type(error).__name__}"
        log.warning("%s; a new producer will send it again", self.error)


async def _send_each(
    producer: ReplaceableProducer, records: Sequence[OutgoingRecord], *, settings: Settings
) -> list[Delivery | KafkaError]:
    """Each record's outcome; a Kafka error: it was not acknowledged, and may be later."""
    try:
        async with producer.use() as current, asyncio.timeout(SEND_TIMEOUT_SECONDS):
            sending = (_send_one(current, each, settings=settings) for each in records)
            sent = await asyncio.gather(*sending, return_exceptions=True)
    except ProducerClosed as error:
        return [error] * len(records)
    except TimeoutError:
        return [KafkaTimeoutError()] * len(records)
    return [_outcome_of(each) for each in sent]


async def _send_one(producer: AIOKafkaProducer, record: OutgoingRecord, *, settings: Settings) -> int:
    topic = topic_name(record.topic, settings)
    partition = None
    if record.partition_key is not None:
        numbers = sorted(await producer.partitions_for(topic))
        partition = _partition_of(record.partition_key.encode(), numbers, numbers)
    sent = await producer.send_and_wait(
        topic, record.value, key=record.key.encode(), partition=partition, headers=list(record.headers)
    )
    return int(sent.timestamp)


def _pauses_seconds() -> Iterator[float]:
    pause = FIRST_PAUSE_SECONDS
    while True:
        yield pause
        pause = min(LONGEST_PAUSE_SECONDS, pause * 2)


def _outcome_of(sent: "int | BaseException") -> Delivery | KafkaError:
    if isinstance(sent, int):
        return sent
    if isinstance(sent, asyncio.CancelledError):
        # aiokafka's own: its producer was stopped while the record waited. Ours would have ended the waiting itself.
        return ProducerClosed()
    if isinstance(sent, _TOO_LARGE):
        return Undeliverable(type(sent).__name__, is_too_large=True)
    if isinstance(sent, KafkaError):
        return sent
    if isinstance(sent, Exception):
        return Undeliverable(type(sent).__name__, is_too_large=False)
    raise sent

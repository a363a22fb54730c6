"""Writes the gate's records to Kafka, with a new producer whenever one has failed: nothing paid for is ever dropped."""

import asyncio
import logging
from collections.abc import Sequence

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
from services.runtime.kafka import make_producer, start_producer, stop_producer, topic_name

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0
# aiokafka fails a record within its `request_timeout_ms` of 40 s, except that a send which waits for metadata while its
# producer is stopped waits for ever. Two sends share a producer, and either may stop it.
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
        self._small = _Producer(settings, is_idempotent=True)
        self._large = _Producer(settings, is_idempotent=False)
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
        await producer.try_once(topic, value, key=key)

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
        self, producer: "_Producer", records: Sequence[OutgoingRecord]
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
        self, producer: "_Producer", records: Sequence[OutgoingRecord]
    ) -> list[tuple[OutgoingRecord, Delivery]]:
        settled: list[tuple[OutgoingRecord, Delivery]] = []
        waiting = list(records)
        pause_seconds = FIRST_PAUSE_SECONDS
        while waiting:
            used = producer.current
            outcomes = await producer.send_all(waiting)
            settled += [
                (each, outcome)
                for each, outcome in zip(waiting, outcomes, strict=True)
                if not isinstance(outcome, KafkaError)
            ]
            failed = [outcome for outcome in outcomes if isinstance(outcome, KafkaError)]
            waiting = [each for each, outcome in zip(waiting, outcomes, strict=True) if isinstance(outcome, KafkaError)]
            if failed:
                self._note(failed[0])
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(LONGEST_PAUSE_SECONDS, pause_seconds * 2)
                error = await producer.renew(used)
                if error is not None:
                    self._note(error)
        return settled

    def _note(self, error: KafkaError) -> None:
        self.error = f"Kafka did not take a record: {type(error).__name__}"
        log.warning("%s; a new producer will send it again", self.error)


class _Producer:
    """A producer that can be replaced."""

    def __init__(self, settings: Settings, *, is_idempotent: bool) -> None:
        self._settings = settings
        self._is_idempotent = is_idempotent
        self.current: AIOKafkaProducer = self._make()
        self._renewing = asyncio.Lock()
        self._stopped = False  # a stopped producer must not be given a record: see SEND_TIMEOUT_SECONDS

    async def start(self) -> None:
        await start_producer(self.current)

    async def stop(self) -> None:
        self._stopped = True
        await stop_producer(self.current)

    async def try_once(self, topic: str, value: bytes, *, key: bytes) -> None:
        if self._stopped:
            raise ProducerClosed
        try:
            async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                await self.current.send_and_wait(topic, value, key=key)
        except TimeoutError as error:
            raise KafkaTimeoutError from error

    async def send_all(self, records: Sequence[OutgoingRecord]) -> list[Delivery | KafkaError]:
        """Each record's outcome; a Kafka error: it was not acknowledged, and may be later."""
        if self._stopped:
            return [ProducerClosed()] * len(records)
        producer = self.current
        try:
            async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                sent = await asyncio.gather(*(self._send(producer, each) for each in records), return_exceptions=True)
        except TimeoutError:
            return [KafkaTimeoutError()] * len(records)
        return [_outcome_of(each) for each in sent]

    async def renew(self, failed: AIOKafkaProducer) -> KafkaError | None:
        """Replaces the producer that failed, unless that was done meanwhile. The error, if it could not be."""
        async with self._renewing:
            if self.current is not failed:
                return None
            self._stopped = True
            await stop_producer(failed)
            fresh = self._make()
            try:
                await start_producer(fresh)
            except KafkaError as error:
                return error
            self.current = fresh
            self._stopped = False
            return None

    async def _send(self, producer: AIOKafkaProducer, record: OutgoingRecord) -> int:
        topic = topic_name(record.topic, self._settings)
        partition = None
        if record.partition_key is not None:
            numbers = sorted(await producer.partitions_for(topic))
            partition = _partition_of(record.partition_key.encode(), numbers, numbers)
        sent = await producer.send_and_wait(
            topic, record.value, key=record.key.encode(), partition=partition, headers=list(record.headers)
        )
        return int(sent.timestamp)

    def _make(self) -> AIOKafkaProducer:
        return make_producer(
            self._settings,
            linger_ms=LINGER_MS,
            idempotent=self._is_idempotent,
            max_batch_bytes=2 * LARGE_BYTES if self._is_idempotent else LARGE_BYTES,
        )


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

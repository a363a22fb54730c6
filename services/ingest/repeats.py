"""Knows which idempotent uploads were opened lately, on any replica: a fold of `upload-events`."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from schemas import topics
from schemas.codec import UndecodableRecord, decode_one_of
from schemas.settings import Settings
from schemas.uploads import UPLOAD_EVENT, UploadOpened
from services.runtime.kafka import make_consumer, partitions_of, started, topic_name

REMEMBERED = timedelta(hours=24)
"""How long a repetition gets the first answer again. Later ones still lead to the first upload: its id is the same."""
READ_BACK_SECONDS = 10.0
_IDEMPOTENT_VERSION = 5
log = logging.getLogger(__name__)


class OpenedLog:
    """The first `UploadOpened` of each idempotent id. The log's order decides, so all replicas agree."""

    def __init__(
        self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition], *, asker: AIOKafkaConsumer
    ) -> None:
        self._consumer = consumer
        # A broker answers a connection's requests in turn: behind a waiting fetch, a question would wait half a second.
        self._asker = asker
        self._partitions = {tp.partition: tp for tp in partitions}
        self._first: dict[str, UploadOpened] = {}
        self._next_offset = dict.fromkeys(self._partitions, 0)
        self._moved = asyncio.Condition()
        self.is_following = True

    async def first(self, upload_id: str, *, partition: int, through: int | None = None) -> UploadOpened | None:
        """The one that counts, once the partition is read through an offset; by default to its present end.

        Raises:
            TimeoutError: the log could not be read so far in time.
        """
        if through is None:
            tp = self._partitions[partition]
            through = (await self._asker.end_offsets([tp]))[tp] - 1
        async with asyncio.timeout(READ_BACK_SECONDS), self._moved:
            await self._moved.wait_for(lambda: self._next_offset[partition] > through)
        return self._first.get(upload_id)

    async def begin(self) -> None:
        """Goes to the first record that is younger than `REMEMBERED`, or to the end if there is none."""
        since_ms = int((datetime.now(UTC) - REMEMBERED).timestamp() * 1000)
        partitions = list(self._partitions.values())
        # The ends first: what is written between the two questions is then read, never skipped.
        ends = await self._asker.end_offsets(partitions)
        young = await self._asker.offsets_for_times(dict.fromkeys(partitions, since_ms))
        for tp in partitions:
            found = young.get(tp)
            self._consumer.seek(tp, ends[tp] if found is None else found.offset)

    async def follow(self) -> None:
        """Folds the log until cancelled, from where `begin` has put it."""
        while True:
            batches = await self._consumer.getmany(timeout_ms=1000)
            for records in batches.values():
                for record in records:
                    self._fold(record)
            if batches:
                self._forget(datetime.now(UTC) - REMEMBERED)
            await self._advance()

    def stopped_following(self, task: "asyncio.Task[None]") -> None:
        """Says so, and lets readiness fail: from here on repetitions would not be recognised."""
        self.is_following = False
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("stopped following upload-events: %s", type(error).__name__)

    async def _advance(self) -> None:
        positions = {number: await self._consumer.position(tp) for number, tp in self._partitions.items()}
        async with self._moved:
            self._next_offset = positions
            self._moved.notify_all()

    def _fold(self, record: ConsumerRecord) -> None:
        if record.value is None or b"upload_opened" not in record.value:
            return
        try:
            event = decode_one_of(UPLOAD_EVENT, record.value, what="upload event")
        except UndecodableRecord:
            return  # the feeder puts it on `bad-records`
        if isinstance(event, UploadOpened) and _is_idempotent(event.upload_id):
            self._first.setdefault(event.upload_id, event)

    def _forget(self, before: datetime) -> None:
        for upload_id in [key for key, opened in self._first.items() if opened.at < before]:
            del self._first[upload_id]


def _is_idempotent(upload_id: str) -> bool:
    try:
        return UUID(upload_id).version == _IDEMPOTENT_VERSION
    except ValueError:
        return False


@asynccontextmanager
async def following_opened_log(settings: Settings) -> AsyncIterator[OpenedLog]:
    """An `OpenedLog` that follows the log until the block ends."""
    async with started(make_consumer(settings)) as consumer, started(make_consumer(settings)) as asker:
        partitions = await partitions_of(consumer, topic_name(topics.UPLOAD_EVENTS, settings))
        consumer.assign(partitions)
        opened_log = OpenedLog(consumer, partitions, asker=asker)
        await opened_log.begin()
        following = asyncio.create_task(opened_log.follow())
        following.add_done_callback(opened_log.stopped_following)
        try:
            yield opened_log
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following

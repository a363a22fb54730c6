"""Follows `upload-events` and `upload-progress`, so that every replica recognises a repeated upload."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from schemas import topics
from schemas.codec import UndecodableRecord, decode, decode_one_of
from schemas.settings import Settings
from schemas.upload_events import UPLOAD_EVENT, UploadOpened
from schemas.uploads import UploadProgress
from services.ingest.http.recent_uploads import RecentUploads
from services.runtime.kafka import make_consumer, partitions_of, started, topic_name

REMEMBERED = timedelta(hours=24)
"""How long a repeated request gets the first answer again, and how long an unfinished upload is counted. A later
repetition still leads to the first upload, because its id is the same."""
READ_BACK_SECONDS = 10.0
_RETRY_SECONDS = 1.0
_FOLDED_KINDS = (b"upload_opened", b"upload_refused", b"delete_upload")
log = logging.getLogger(__name__)


class OpenedLog:
    """Owns the recently opened uploads. The order of the log decides, so all replicas agree.

    `asker` is a second consumer. A broker answers the requests of one connection in order, so a question about
    offsets would wait half a second behind a fetch.
    """

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        *,
        offset_client: AIOKafkaConsumer,
        events: list[TopicPartition],
        progress: list[TopicPartition],
    ) -> None:
        self._consumer = consumer
        self._offset_client = offset_client
        self._events = {tp.partition: tp for tp in events}
        self._partitions = [*events, *progress]
        self._recent = RecentUploads()
        self._next_offset = dict.fromkeys(events, 0)
        self._positions_changed = asyncio.Condition()
        self._reads = False
        self._following: asyncio.Task[None] | None = None

    @property
    def is_following(self) -> bool:
        """Whether the log was read and the task that reads it still runs."""
        return self._reads and self._following is not None and not self._following.done()

    def unfinished(self, owner: str) -> int:
        """How many recent uploads of an owner are not finished, as far as the log was read."""
        return self._recent.unfinished(owner)

    async def first(self, upload_id: str, *, partition: int) -> UploadOpened | None:
        """Read the partition to its present end and return the first `UploadOpened` of an idempotent id.

        Raises:
            TimeoutError: the log could not be read to that offset in time.
        """
        tp = self._events[partition]
        end = (await self._offset_client.end_offsets([tp]))[tp]
        async with asyncio.timeout(READ_BACK_SECONDS), self._positions_changed:
            await self._positions_changed.wait_for(lambda: self._next_offset[tp] >= end)
        return self._recent.first(upload_id)

    async def begin(self) -> None:
        """Seek to the first record that is younger than `REMEMBERED`, or to the end of a partition without one."""
        since_ms = int((datetime.now(UTC) - REMEMBERED).timestamp() * 1000)
        # The ends first: a record written between the two requests is then read and not skipped.
        ends = await self._offset_client.end_offsets(self._partitions)
        young = await self._offset_client.offsets_for_times(dict.fromkeys(self._partitions, since_ms))
        for tp in self._partitions:
            found = young.get(tp)
            self._consumer.seek(tp, ends[tp] if found is None else found.offset)

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Fold the log while the block lasts, from the position that `begin` has set."""
        self._following = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            self._following.cancel()
            with suppress(asyncio.CancelledError):
                await self._following

    async def _follow(self) -> None:
        while True:
            try:
                await self._read_on()
                self._reads = True
            except Exception as error:
                # Any error is retried: without this task every request with a key would time out unexplained.
                self._reads = False
                # A traceback may show data.
                log.error("cannot read upload-events: %s", type(error).__name__)  # noqa: TRY400
                await asyncio.sleep(_RETRY_SECONDS)

    async def _read_on(self) -> None:
        batches = await self._consumer.getmany(timeout_ms=1000 if self._reads else 0)
        for tp, records in batches.items():
            for record in records:
                self._take(record, is_event=tp in self._next_offset)
        if batches:
            self._recent.forget(datetime.now(UTC) - REMEMBERED)
        positions = {tp: await self._consumer.position(tp) for tp in self._next_offset}
        async with self._positions_changed:
            self._next_offset = positions
            self._positions_changed.notify_all()

    def _take(self, record: ConsumerRecord, *, is_event: bool) -> None:
        """Fold a record. A bad record is skipped here: the join and the feeder write it to `bad-records`."""
        try:
            self._fold(record, is_event=is_event)
        except UndecodableRecord:
            return
        except Exception as error:
            place = (record.topic, record.partition, record.offset)
            log.error("skipped %s-%d@%d: %s", *place, type(error).__name__)  # noqa: TRY400 - a traceback may show data

    def _fold(self, record: ConsumerRecord, *, is_event: bool) -> None:
        value, at = record.value, record.timestamp
        if value is None:
            return
        if not is_event:
            progress = decode(UploadProgress, value, timestamp_ms=at)
            if record.key == progress.upload_id.encode():
                self._recent.progress(progress)
        elif any(kind in value for kind in _FOLDED_KINDS):
            self._recent.event(decode_one_of(UPLOAD_EVENT, value, what="upload event", timestamp_ms=at))


@asynccontextmanager
async def following_opened_log(settings: Settings) -> AsyncIterator[OpenedLog]:
    """An `OpenedLog` that follows the log until the block ends."""
    async with started(make_consumer(settings)) as consumer, started(make_consumer(settings)) as offset_client:
        events = await partitions_of(consumer, topic_name(topics.UPLOAD_EVENTS, settings))
        progress = await partitions_of(consumer, topic_name(topics.UPLOAD_PROGRESS, settings))
        consumer.assign([*events, *progress])
        opened_log = OpenedLog(consumer, offset_client=offset_client, events=events, progress=progress)
        await opened_log.begin()
        async with opened_log.following():
            yield opened_log

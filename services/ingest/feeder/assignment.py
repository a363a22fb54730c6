"""Checks and feeds the uploads of the partitions that are assigned to this feeder, until they are revoked."""

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from contextlib import suppress

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from schemas import topics
from schemas.codec import UndecodableRecord, encode
from schemas.settings import Settings
from schemas.upload_events import UploadEvent
from services.ingest.feeder.admission import allowed_rows
from services.ingest.feeder.bad_records import BadRecordOutbox
from services.ingest.feeder.call_limit import exceeds_call_limit, too_many_calls
from services.ingest.feeder.check import PreparedFile
from services.ingest.feeder.failures import refusal_for
from services.ingest.feeder.feeding import Feed, Outlet, erase_checkpoint, fed_event, publish, save_checkpoint
from services.ingest.feeder.jobs import ReaderJobs
from services.ingest.feeder.preparation.row_file import PreparedReader
from services.ingest.feeder.spool import Spool
from services.ingest.feeder.upload_state import FeederUpload, next_step, usable_checkpoint
from services.ingest.feeder.uploads import UploadTable
from services.ingest.feeder.window import Pace, Rotation, shares
from services.ingest.sending import RecordTooLarge
from services.runtime.kafka import read_to_end, topic_name

_POLL_SECONDS = 0.5
_SLOW_POLL_SECONDS = 0.05
_PAUSE_SECONDS = 1.0
log = logging.getLogger(__name__)


class Assignment:
    """The uploads of some partitions of `upload-events`, and the work on them.

    All its state comes from the log, so it may be lost at any moment. `reader` is a consumer without a group. It has
    `partitions_read` assigned and starts at their beginning.
    """

    def __init__(
        self,
        partitions: frozenset[int],
        *,
        outlet: Outlet,
        spool: Spool,
        reader: AIOKafkaConsumer,
        pace: Pace,
        bad_records: BadRecordOutbox,
    ) -> None:
        self._uploads = UploadTable()
        self._outlet = outlet
        self._spool = spool
        self._reader = reader
        self._pace = pace
        self._bad_records = bad_records
        self._error: str | None = None
        self._share = len(partitions) / outlet.upload_partitions
        self._changed = asyncio.Event()
        self._reader_jobs = ReaderJobs(outlet, spool, self._publish_event, self._changed.set)
        self._feeds: dict[str, Feed] = {}
        self._rotation = Rotation()
        settings = outlet.settings
        self._events = topic_name(topics.UPLOAD_EVENTS, settings)
        self._checkpoints = topic_name(topics.FEED_CHECKPOINTS, settings)
        self._progress = topic_name(topics.UPLOAD_PROGRESS, settings)
        self.partitions = partitions_read(partitions, settings)
        self._positions = {tp: 0 for tp in self.partitions if tp.topic == self._events}

    @property
    def is_busy(self) -> bool:
        return bool(self._feeds) or self._reader_jobs.is_busy

    @property
    def error(self) -> str | None:
        return self._error or self._reader_jobs.error

    async def run(self) -> None:
        """Fold the log to its present end, then work until cancelled.

        Raises:
            ExceptionGroup: the log cannot be read any more. The process must restart from the checkpoints.
        """
        async for record in read_to_end(self._reader, self.partitions):
            self._fold(record)
            await self._bad_records.write(self._outlet.sender)
        self._spool.keep_only(self._uploads.active)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            group.create_task(self._work(group))

    def positions(self) -> dict[TopicPartition, int]:
        """The next unread offset of each partition of `upload-events`."""
        return dict(self._positions)

    async def save_checkpoints(self) -> None:
        """Write all checkpoints, so that no row is published again after a planned stop."""
        for upload_id, feed in self._feeds.items():
            if (upload := self._uploads.active.get(upload_id)) is not None:
                with suppress(RecordTooLarge):
                    await save_checkpoint(feed, upload, outlet=self._outlet)

    async def _follow(self) -> None:
        while True:
            batches = await self._reader.getmany(timeout_ms=int(_POLL_SECONDS * 1000))
            for records in batches.values():
                for record in records:
                    self._fold(record)
            # Not the last record's offset + 1: the end of a transaction has an offset too, and the consumer skips it.
            self._positions = {tp: await self._reader.position(tp) for tp in self._positions}
            if batches:
                self._changed.set()
            with suppress(KafkaError):
                await self._bad_records.write(self._outlet.sender)

    def _fold(self, record: ConsumerRecord) -> None:
        """Fold a record, or send it to `bad-records`. A bad record never stops the fold."""
        if record.topic == self._events:
            self._positions[TopicPartition(record.topic, record.partition)] = record.offset + 1
        try:
            self._fold_one(record)
        except UndecodableRecord as error:
            if record.topic != self._events:  # the join reports those
                self._bad_records.add(record, reason="undecodable", error=str(error), now=self._outlet.now())
        except Exception as error:
            self._bad_records.add(record, reason="failed", error=type(error).__name__, now=self._outlet.now())

    def _fold_one(self, record: ConsumerRecord) -> None:
        if record.topic == self._events:
            self._uploads.event_record(record)
        elif record.topic == self._checkpoints:
            self._uploads.checkpoint_record(record)
        else:
            self._uploads.progress_record(record)

    async def _work(self, group: asyncio.TaskGroup) -> None:
        self._changed.set()
        while True:
            try:
                await self._work_once(group)
                self._error = None
            except KafkaError as error:
                self._error = f"Kafka does not accept records: {type(error).__name__}"
                log.error("%s", self._error)  # noqa: TRY400 - a traceback would add nothing
                await asyncio.sleep(_PAUSE_SECONDS)
                self._changed.set()

    async def _work_once(self, group: asyncio.TaskGroup) -> None:
        """Run one turn. Raises KafkaError; the caller runs it again later."""
        if self._changed.is_set():
            self._changed.clear()
            await self._reconcile(group)
        owners = self._owners()
        now = self._outlet.clock()
        turn = self._rotation.next_turn(self._allowed_rows(owners), owners=owners, allowance=self._pace.allowance(now))
        if turn is None:
            await self._wait_for_change()
        else:
            await self._guarded(self._uploads.active[turn[0]], self._serve(*turn))
        await self._save_due_checkpoints()

    async def _guarded(self, upload: FeederUpload, work: Awaitable[None]) -> None:
        """Do the work on one upload. Any error but Kafka's ends this upload alone.

        Raises:
            KafkaError: Kafka did not accept a record. The upload continues from its checkpoint.
        """
        try:
            await work
        except KafkaError:
            self._feeds.pop(upload.upload_id, None)
            raise
        except Exception as error:
            self._feeds.pop(upload.upload_id, None)
            # Only the type: an exception's text may hold cells.
            # A traceback may show data.
            log.error("upload %s cannot be fed: %s", upload.upload_id, type(error).__name__)  # noqa: TRY400
            await self._reader_jobs.refuse(upload, refusal_for(error))

    async def _wait_for_change(self) -> None:
        wait_seconds = _SLOW_POLL_SECONDS if self._pace.is_slow and self._feeds else _POLL_SECONDS
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_seconds):
                await self._changed.wait()

    async def _reconcile(self, group: asyncio.TaskGroup) -> None:
        """Start and stop work until it matches the folded log."""
        for upload_id in self._reader_jobs.uploads() | set(self._feeds):
            upload = self._uploads.active.get(upload_id)
            self._reader_jobs.drop_outdated(upload_id, upload)
            if upload is None:
                self._feeds.pop(upload_id, None)
        for upload_id in list(self._uploads.stale_checkpoints()):
            await erase_checkpoint(upload_id, outlet=self._outlet)
            self._uploads.checkpoints.pop(upload_id, None)
        for upload in list(self._uploads.active.values()):
            await self._guarded(upload, self._advance(upload, group))

    async def _advance(self, upload: FeederUpload, group: asyncio.TaskGroup) -> None:
        step = next_step(upload)
        if step in ("wait", "nothing") or upload.upload_id in self._feeds:
            return
        prepared_file = self._reader_jobs.of(upload)
        if step == "check" or prepared_file is None:
            self._reader_jobs.start(upload, group)
        else:
            await self._begin_feeding(upload, prepared_file)

    async def _begin_feeding(self, upload: FeederUpload, prepared_file: PreparedFile) -> None:
        counts = prepared_file.outcome.counts
        assert counts is not None
        join_counts = self._uploads.join_counts_of(upload.upload_id)
        too_much = exceeds_call_limit(upload, counts, join_counts, settings=self._outlet.settings)
        if too_much:
            await self._reader_jobs.refuse(upload, too_many_calls(self._outlet.settings))
        if too_much is not False:
            return
        checkpoint = usable_checkpoint(upload, self._uploads.checkpoints.get(upload.upload_id), rows=counts.rows)
        next_row = 1 if checkpoint is None else checkpoint.next_row
        rejected = 0 if checkpoint is None else checkpoint.rejected
        reader = PreparedReader(prepared_file.folder, next_row)
        self._feeds[upload.upload_id] = Feed(
            reader, rows=counts.rows, next_row=next_row, rejected=rejected, saved_row=next_row
        )

    def _owners(self) -> dict[str, str]:
        """The owner of each upload that is being fed."""
        active = self._uploads.active
        return {upload_id: active[upload_id].opened.owner for upload_id in self._feeds if upload_id in active}

    def _allowed_rows(self, owners: Mapping[str, str]) -> dict[str, int]:
        uploads, active = self._uploads, shares(owners)
        return {
            upload_id: allowed_rows(
                uploads.active[upload_id],
                uploads.join_counts_of(upload_id),
                fed_rows=self._feeds[upload_id].fed_rows,
                active=active[owner],
                share=self._share,
            )
            for upload_id, owner in owners.items()
        }

    async def _serve(self, upload_id: str, rows: int) -> None:
        """Publish the next rows of one upload.

        1. The rows are published and acknowledged.
        2. After the last row `UploadFed` is published.

        The checkpoint follows later, in `_save_due_checkpoints`.
        """
        feed, upload = self._feeds[upload_id], self._uploads.active[upload_id]
        # 1. The rows.
        before = feed.next_row
        await publish(feed, upload, self._uploads.join_counts_of(upload_id), rows=rows, outlet=self._outlet)
        self._pace.spend(feed.next_row - before)
        # 2. The end.
        if feed.is_done:
            await self._publish_event(fed_event(feed, upload, now=self._outlet.now()))

    async def _save_due_checkpoints(self) -> None:
        for upload_id, feed in list(self._feeds.items()):
            upload = self._uploads.active.get(upload_id)
            if upload is not None and feed.save_is_due(self._outlet.clock()):
                await self._guarded(upload, save_checkpoint(feed, upload, outlet=self._outlet))

    async def _publish_event(self, event: UploadEvent) -> None:
        """Write an event and fold it at once, without waiting to read it back."""
        key = event.upload_id.encode()
        metadata = await self._outlet.sender.send(self._events, encode(event), key=key)
        log.info("%s %s", event.upload_id, event.type)
        self._uploads.event(event, offset=metadata.offset)
        self._changed.set()


def partitions_read(partitions: frozenset[int], settings: Settings) -> list[TopicPartition]:
    """The partitions to fold: all topics keyed by upload have the same number of partitions."""
    names = (topics.UPLOAD_EVENTS, topics.FEED_CHECKPOINTS, topics.UPLOAD_PROGRESS)
    return [TopicPartition(topic_name(topic, settings), number) for topic in names for number in sorted(partitions)]

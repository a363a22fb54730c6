"""Works for the uploads of the partitions that this feeder holds, until it loses them."""

import asyncio
import logging
from contextlib import suppress
from pathlib import Path

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from schemas import topics
from schemas.codec import encode
from schemas.settings import Settings
from schemas.upload_events import UploadEvent
from services.ingest.capacity import is_too_much, too_many_calls
from services.ingest.cases import Case, next_step, usable_checkpoint
from services.ingest.checking import refused_event
from services.ingest.feeding import (
    Feed,
    Outlet,
    erase_checkpoint,
    fed_event,
    publish,
    save,
)
from services.ingest.ledger import Ledger
from services.ingest.prepared import PreparedReader
from services.ingest.readings import Readings
from services.ingest.room import room_rows
from services.ingest.spool import Spool
from services.ingest.window import Pace, Rotation
from services.runtime.kafka import read_to_end, topic_name

_POLL_SECONDS = 0.5
_SLOW_POLL_SECONDS = 0.05
log = logging.getLogger(__name__)


class Assignment:
    """The uploads of some partitions of `upload-events`, and the work on them.

    All that it knows comes from the log, so it may be lost at any moment. `reader` is a consumer without a group that
    has been given `partitions_read` and begins at their start.
    """

    def __init__(
        self, partitions: frozenset[int], *, outlet: Outlet, spool: Spool, reader: AIOKafkaConsumer, pace: Pace
    ) -> None:
        self._ledger = Ledger()
        self._outlet = outlet
        self._spool = spool
        self._reader = reader
        self._pace = pace
        self._share = len(partitions) / outlet.upload_partitions
        self._news = asyncio.Event()
        self._readings = Readings(outlet, spool, self._tell, self._news.set)
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
        return bool(self._feeds) or self._readings.is_busy

    @property
    def error(self) -> str | None:
        return self._readings.error

    async def run(self) -> None:
        """Folds the log to its present end, then works until cancelled.

        Raises:
            ExceptionGroup: of KafkaError or TimeoutError; the process must start again from the checkpoints.
        """
        async for record in read_to_end(self._reader, self.partitions):
            self._fold(record)
        self._spool.keep_only(self._ledger.cases)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow())
                group.create_task(self._work(group))
        finally:
            for feed in self._feeds.values():
                feed.reader.close()

    def positions(self) -> dict[TopicPartition, int]:
        """The next unread offset of each partition of `upload-events`."""
        return dict(self._positions)

    async def save_all(self) -> None:
        """Writes the checkpoints, so that a planned stop repeats nothing."""
        for upload_id, feed in self._feeds.items():
            if (case := self._ledger.cases.get(upload_id)) is not None:
                await save(feed, case, outlet=self._outlet)

    async def _follow(self) -> None:
        while True:
            batches = await self._reader.getmany(timeout_ms=int(_POLL_SECONDS * 1000))
            for records in batches.values():
                for record in records:
                    self._fold(record)
            if batches:
                self._news.set()

    def _fold(self, record: ConsumerRecord) -> None:
        if record.topic == self._events:
            self._positions[TopicPartition(record.topic, record.partition)] = record.offset + 1
            self._ledger.event_record(record.value, offset=record.offset)
        elif record.topic == self._checkpoints:
            self._ledger.checkpoint_record(record.key, record.value, offset=record.offset)
        else:
            self._ledger.progress_record(record.key, record.value, offset=record.offset)

    async def _work(self, group: asyncio.TaskGroup) -> None:
        self._news.set()
        while True:
            if self._news.is_set():
                self._news.clear()
                await self._take_stock(group)
            now = self._outlet.clock()
            turn = self._rotation.next_turn(self._room_rows(), allowance=self._pace.allowance(now))
            if turn is None:
                await self._wait_for_news()
            else:
                await self._serve(*turn)
            await self._save_what_is_due()

    async def _wait_for_news(self) -> None:
        wait_seconds = _SLOW_POLL_SECONDS if self._pace.is_slow and self._feeds else _POLL_SECONDS
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_seconds):
                await self._news.wait()

    async def _take_stock(self, group: asyncio.TaskGroup) -> None:
        """Starts and stops work according to what the log says now."""
        for upload_id in self._readings.uploads() | set(self._feeds):
            case = self._ledger.cases.get(upload_id)
            self._readings.drop_outdated(upload_id, case)
            if case is None and (feed := self._feeds.pop(upload_id, None)) is not None:
                feed.reader.close()
        for upload_id in list(self._ledger.left_over_checkpoints()):
            await erase_checkpoint(upload_id, outlet=self._outlet)
            self._ledger.checkpoints.pop(upload_id, None)
        for case in list(self._ledger.cases.values()):
            await self._move_on(case, group)

    async def _move_on(self, case: Case, group: asyncio.TaskGroup) -> None:
        step = next_step(case)
        if step in ("wait", "nothing") or case.upload_id in self._feeds:
            return
        folder = self._readings.folder(case)
        if step == "check" or folder is None:
            self._readings.start(case, group)
        else:
            await self._begin_feeding(case, folder)

    async def _begin_feeding(self, case: Case, folder: Path) -> None:
        assert case.checked is not None
        settled = self._ledger.settled_of(case.upload_id)
        too_much = is_too_much(case, case.checked.counts, settled, settings=self._outlet.settings)
        if too_much:
            await self._tell(refused_event(case, too_many_calls(self._outlet.settings), now=self._outlet.now()))
        if too_much is not False:
            return
        checkpoint = usable_checkpoint(case, self._ledger.checkpoints.get(case.upload_id))
        next_row = 1 if checkpoint is None else checkpoint.next_row
        rejected = 0 if checkpoint is None else checkpoint.rejected
        reader = PreparedReader(folder, next_row)
        self._feeds[case.upload_id] = Feed(reader, next_row=next_row, rejected=rejected, saved_row=next_row)

    def _room_rows(self) -> dict[str, int]:
        ledger = self._ledger
        return {
            upload_id: room_rows(
                ledger.cases[upload_id],
                ledger.settled_of(upload_id),
                fed_rows=feed.fed_rows,
                active=len(self._feeds),
                share=self._share,
            )
            for upload_id, feed in self._feeds.items()
            if upload_id in ledger.cases
        }

    async def _serve(self, upload_id: str, rows: int) -> None:
        """One turn. 1. Rows, acknowledged. 2. After the last row, `UploadFed`."""
        feed, case = self._feeds[upload_id], self._ledger.cases[upload_id]
        before = feed.next_row
        await publish(feed, case, self._ledger.settled_of(upload_id), rows=rows, outlet=self._outlet)
        self._pace.spend(feed.next_row - before)
        assert case.checked is not None
        if feed.fed_rows >= case.checked.counts.rows:
            await self._tell(fed_event(feed, case, now=self._outlet.now()))

    async def _save_what_is_due(self) -> None:
        for upload_id, feed in self._feeds.items():
            case = self._ledger.cases.get(upload_id)
            if case is not None and feed.save_is_due(self._outlet.clock()):
                await save(feed, case, outlet=self._outlet)

    async def _tell(self, event: UploadEvent) -> None:
        """Writes an event and folds it at once: waiting to read it back would only delay."""
        key = event.upload_id.encode()
        metadata = await self._outlet.producer.send_and_wait(self._events, encode(event), key=key)
        log.info("%s %s", event.upload_id, event.type)
        self._ledger.event(event, offset=metadata.offset)
        self._news.set()


def partitions_read(partitions: frozenset[int], settings: Settings) -> list[TopicPartition]:
    """What is folded for some partitions: the topics keyed by upload are partitioned alike."""
    names = (topics.UPLOAD_EVENTS, topics.FEED_CHECKPOINTS, topics.UPLOAD_PROGRESS)
    return [TopicPartition(topic_name(topic, settings), number) for topic in names for number in sorted(partitions)]

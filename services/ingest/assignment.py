"""Works for the uploads of the partitions that this feeder holds, until it loses them."""

import asyncio
from contextlib import suppress

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from schemas import topics
from schemas.codec import encode
from schemas.settings import Settings
from schemas.uploads import UploadChecking, UploadEvent
from services.ingest.capacity import is_too_much, too_many_calls
from services.ingest.cases import Case, next_step, usable_checkpoint
from services.ingest.checking import Reading, ask_for_known, checked_event, read_file, refused_event
from services.ingest.feeding import (
    CHECKPOINT_SECONDS,
    Feed,
    Outlet,
    erase_checkpoint,
    fed_event,
    publish,
    save,
)
from services.ingest.ledger import Ledger
from services.ingest.prepared import PreparedReader
from services.ingest.room import room_rows
from services.ingest.spool import Spool
from services.ingest.window import Pace, Rotation
from services.runtime.kafka import read_to_end, topic_name

SMALL_FILE_BYTES = 2_000_000
SMALL_AT_ONCE = 4
LARGE_AT_ONCE = 1
"""Files read at the same time. A small one never waits for a large one."""
_POLL_SECONDS = 0.5
_SLOW_POLL_SECONDS = 0.05


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
        self._jobs: dict[str, tuple[str, asyncio.Task[None]]] = {}
        self._readings: dict[str, tuple[str, Reading]] = {}
        self._feeds: dict[str, Feed] = {}
        self._rotation = Rotation()
        self._news = asyncio.Event()
        self._small = asyncio.Semaphore(SMALL_AT_ONCE)
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)
        settings = outlet.settings
        self._events = topic_name(topics.UPLOAD_EVENTS, settings)
        self._checkpoints = topic_name(topics.FEED_CHECKPOINTS, settings)
        self._progress = topic_name(topics.UPLOAD_PROGRESS, settings)
        self.partitions = partitions_read(partitions, settings)
        self._positions = {tp: 0 for tp in self.partitions if tp.topic == self._events}

    @property
    def is_busy(self) -> bool:
        return bool(self._feeds or self._jobs)

    async def run(self) -> None:
        """Folds the log to its present end, then works until cancelled.

        Raises:
            ExceptionGroup: of KafkaError or TimeoutError; the process must start again from the checkpoints.
        """
        async for record in read_to_end(self._reader, self.partitions):
            self._fold(record)
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

    async def _wait_for_news(self) -> None:
        wait_seconds = _SLOW_POLL_SECONDS if self._pace.is_slow and self._feeds else _POLL_SECONDS
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_seconds):
                await self._news.wait()

    async def _take_stock(self, group: asyncio.TaskGroup) -> None:
        """Starts and stops work according to what the log says now."""
        for upload_id in [*self._jobs, *self._feeds, *self._readings]:
            self._drop_if_outdated(upload_id)
        for upload_id in list(self._ledger.left_over_checkpoints()):
            await erase_checkpoint(upload_id, outlet=self._outlet)
            self._ledger.checkpoints.pop(upload_id, None)
        for case in list(self._ledger.cases.values()):
            await self._move_on(case, group)

    def _drop_if_outdated(self, upload_id: str) -> None:
        case = self._ledger.cases.get(upload_id)
        check_id, job = self._jobs.get(upload_id, ("", None))
        if job is not None and (case is None or case.check_id != check_id):
            job.cancel()
            del self._jobs[upload_id]
        if upload_id in self._readings and (case is None or case.check_id != self._readings[upload_id][0]):
            del self._readings[upload_id]
        if case is None:
            if (feed := self._feeds.pop(upload_id, None)) is not None:
                feed.reader.close()
            self._spool.discard(upload_id)

    async def _move_on(self, case: Case, group: asyncio.TaskGroup) -> None:
        upload_id = case.upload_id
        step = next_step(case)
        if upload_id in self._jobs or upload_id in self._feeds or step in ("wait", "nothing"):
            return
        if step == "check" or upload_id not in self._readings:
            work = self._check(case) if step == "check" else self._read_again(case)
            self._jobs[upload_id] = (case.check_id, group.create_task(work))
        else:
            await self._begin_feeding(case)

    async def _check(self, case: Case) -> None:
        """Reads the file and tells what it is. The questions go first: once it is checked, all of them were asked."""
        async with self._turn_to_read(case):
            await self._tell(UploadChecking(upload_id=case.upload_id, at=self._outlet.now()))
            reading = await read_file(case, self._spool, settings=self._outlet.settings, detected=None)
        refusal = reading.prepared.refusal
        if refusal is None:
            await ask_for_known(case, reading.folder, outlet=self._outlet)
            await self._tell(checked_event(case, reading.prepared, now=self._outlet.now()))
        else:
            await self._tell(refused_event(case, refusal, now=self._outlet.now()))
        self._end_job(case, reading)

    async def _read_again(self, case: Case) -> None:
        """Reads a checked file once more, as it was read before, because its rows are no longer in the spool."""
        assert case.checked is not None
        async with self._turn_to_read(case):
            detected = case.checked.detected
            reading = await read_file(case, self._spool, settings=self._outlet.settings, detected=detected)
        if reading.prepared.refusal is not None:
            await self._tell(refused_event(case, reading.prepared.refusal, now=self._outlet.now()))
        self._end_job(case, reading)

    def _turn_to_read(self, case: Case) -> asyncio.Semaphore:
        return self._small if (case.opened.bytes or 0) <= SMALL_FILE_BYTES else self._large

    def _end_job(self, case: Case, reading: Reading) -> None:
        del self._jobs[case.upload_id]
        if reading.prepared.refusal is None:
            self._readings[case.upload_id] = (case.check_id, reading)
        self._news.set()

    async def _begin_feeding(self, case: Case) -> None:
        assert case.checked is not None
        settled = self._ledger.settled_of(case.upload_id)
        too_much = is_too_much(case, case.checked.counts, settled, settings=self._outlet.settings)
        if too_much:
            await self._tell(refused_event(case, too_many_calls(self._outlet.settings), now=self._outlet.now()))
        if too_much is not False:
            return
        checkpoint = usable_checkpoint(case, self._ledger.checkpoints.get(case.upload_id))
        folder = self._readings[case.upload_id][1].folder
        next_row = 1 if checkpoint is None else checkpoint.next_row
        rejected = 0 if checkpoint is None else checkpoint.rejected
        self._feeds[case.upload_id] = Feed(PreparedReader(folder, next_row), next_row=next_row, rejected=rejected)

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
        """One turn. 1. Rows, acknowledged. 2. Now and then the checkpoint. 3. After the last row, `UploadFed`."""
        feed, case = self._feeds[upload_id], self._ledger.cases[upload_id]
        before = feed.next_row
        await publish(feed, case, self._ledger.settled_of(upload_id), rows=rows, outlet=self._outlet)
        self._pace.spend(feed.next_row - before)
        assert case.checked is not None
        if feed.fed_rows >= case.checked.counts.rows:
            await self._tell(fed_event(feed, case, now=self._outlet.now()))
        elif self._outlet.clock() - feed.saved_at >= CHECKPOINT_SECONDS:
            await save(feed, case, outlet=self._outlet)

    async def _tell(self, event: UploadEvent) -> None:
        """Writes an event and folds it at once: waiting to read it back would only delay."""
        key = event.upload_id.encode()
        metadata = await self._outlet.producer.send_and_wait(self._events, encode(event), key=key)
        self._ledger.event(event, offset=metadata.offset)
        self._news.set()


def partitions_read(partitions: frozenset[int], settings: Settings) -> list[TopicPartition]:
    """What is folded for some partitions: the topics keyed by upload are partitioned alike."""
    names = (topics.UPLOAD_EVENTS, topics.FEED_CHECKPOINTS, topics.UPLOAD_PROGRESS)
    return [TopicPartition(topic_name(topic, settings), number) for topic in names for number in sorted(partitions)]

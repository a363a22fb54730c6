"""Around a feeder or web part under test: stores files, reads topics as they fill, plays the worker and the join."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

import orjson
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.structs import RecordMetadata
from pydantic import BaseModel

from schemas import groups, topics
from schemas.codec import decode, encode
from schemas.ids import new_upload_id
from schemas.settings import Settings
from schemas.topics import Topic
from schemas.upload_events import UPLOAD_EVENT, UploadEvent, UploadFed, UploadOpened
from schemas.uploads import Counts, FileLocation, UploadOptions, UploadProgress, UploadState
from services.ingest.chunks import CHUNK_BYTES
from services.ingest.http.record_limit import most_record_bytes
from services.ingest.http.storing import FileStore, FileWriter
from services.ingest.sending import Sender
from services.runtime.kafka import admin_client, make_consumer, partitions_of, started, topic_name
from tests.support.waiting import eventually

PATIENCE_SECONDS = 60.0
TINY_RECORD_BYTES = 100_000
TAILED = (
    topics.UPLOAD_EVENTS,
    topics.UPLOAD_ROWS,
    topics.REJECTED_ROWS,
    topics.FEED_CHECKPOINTS,
    topics.PLAN_QUESTIONS,
    topics.BAD_RECORDS,
)
E = TypeVar("E", bound=BaseModel)


@dataclass(slots=True)
class World:
    """What a test sees of Kafka. `records` and `rows` (numbers by topic and upload) grow as the topics do.

    It reads as a member of the lookup worker's group, so the feeder sees a worker that keeps up.
    """

    settings: Settings
    sender: Sender
    records: dict[str, list[ConsumerRecord]] = field(default_factory=dict)
    rows: defaultdict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    moved: asyncio.Condition = field(default_factory=asyncio.Condition)
    following: "asyncio.Task[None] | None" = None

    async def store(self, content: bytes, upload_id: str = "stored", *, chunk_bytes: int = CHUNK_BYTES) -> FileLocation:
        """Puts a file on `upload-files` as the web part does."""
        file_store = FileStore(
            self.sender,
            topic_name(topics.UPLOAD_FILES, self.settings),
            asyncio.Semaphore(8),
            max_file_bytes=10**9,
            chunk_bytes=chunk_bytes,
        )
        async with FileWriter(file_store, upload_id) as writer:
            await writer.write(content)
            return (await writer.finish()).location

    async def open(self, content: bytes, *, upload_id: str | None = None, **options: object) -> str:
        """Stores a file and opens its upload; returns the id."""
        upload_id = upload_id or new_upload_id(now_ms=int(datetime.now(UTC).timestamp() * 1000))
        location = await self.store(content, upload_id)
        chosen = UploadOptions.model_validate(options)
        await self.tell(
            UploadOpened(
                upload_id=upload_id,
                at=now(),
                name="list.csv",
                owner="o",
                options=chosen,
                file=location,
                bytes=len(content),
            )
        )
        return upload_id

    async def tell(self, event: UploadEvent) -> None:
        await self.send(topics.UPLOAD_EVENTS, event.upload_id, event)

    async def send(self, topic: Topic, key: str, message: BaseModel) -> None:
        await self.send_raw(topic, key.encode(), encode(message))

    async def send_raw(self, topic: Topic, key: bytes | None, value: bytes | None) -> RecordMetadata:
        """Writes what another system might write."""
        return await self.sender.producer.send_and_wait(topic_name(topic, self.settings), value, key=key)

    async def report(self, upload_id: str, *, state: UploadState = "in_progress", **counts: int) -> None:
        """Plays the join: tells the counts of an upload."""
        progress = UploadProgress(
            upload_id=upload_id,
            epoch="e",
            seq=1,
            at=now(),
            state=state,
            round=0,
            counts=Counts.model_validate(counts),
            known=None,
        )
        await self.send(topics.UPLOAD_PROGRESS, upload_id, progress)

    def of(self, topic: Topic, upload_id: str, model: type[E]) -> list[E]:
        """The messages about an upload on a topic."""
        found = self.records.get(topic_name(topic, self.settings), [])
        mark = f'"upload_id":"{upload_id}"'.encode()
        return [decode(model, record.value) for record in found if record.value is not None and mark in record.value]

    def events(self, upload_id: str, kind: type[E]) -> list[E]:
        """The events of one kind about an upload."""
        found = self.records.get(topic_name(topics.UPLOAD_EVENTS, self.settings), [])
        mark = f'"upload_id":"{upload_id}"'.encode()
        events = [UPLOAD_EVENT.validate_json(record.value) for record in found if mark in (record.value or b"")]
        return [event for event in events if isinstance(event, kind)]

    def row_numbers(self, upload_id: str) -> tuple[list[int], list[int]]:
        """The numbers of the upload's usable and rejected rows, sorted, repetitions included."""
        usable, rejected = (
            self.rows[topic_name(topic, self.settings), upload_id]
            for topic in (topics.UPLOAD_ROWS, topics.REJECTED_ROWS)
        )
        return sorted(usable), sorted(rejected)

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Waits until the records read so far fulfil a condition."""
        async with self.moved:
            try:
                await asyncio.wait_for(self.moved.wait_for(condition), PATIENCE_SECONDS)
            except TimeoutError:
                raise AssertionError(f"not within {PATIENCE_SECONDS} s: {what}") from None

    async def fed(self, upload_id: str) -> UploadFed:
        """Waits until an upload is fed, and until all its rows are read here."""
        await self.until(lambda: bool(self.events(upload_id, UploadFed)), "the upload is fed")
        fed = self.events(upload_id, UploadFed)[0]
        await self.until(
            lambda: len(set(self.row_numbers(upload_id)[0]) | set(self.row_numbers(upload_id)[1])) >= fed.rows,
            "all rows are there",
        )
        return fed

    async def stop_following(self) -> None:
        """Reads and commits nothing any more."""
        if self.following is not None:
            self.following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.following

    async def follow(self) -> None:
        row_topics = {topic_name(topic, self.settings) for topic in (topics.UPLOAD_ROWS, topics.REJECTED_ROWS)}
        async with started(make_consumer(self.settings, group=groups.WORKER)) as consumer:
            names = [topic_name(topic, self.settings) for topic in TAILED]
            consumer.assign([tp for name in names for tp in await partitions_of(consumer, name)])
            while True:
                batches = await consumer.getmany(timeout_ms=200)
                async with self.moved:
                    for tp, records in batches.items():
                        self.records.setdefault(tp.topic, []).extend(records)
                        for record in records if tp.topic in row_topics else ():
                            row = orjson.loads(record.value)
                            self.rows[tp.topic, row["upload_id"]].append(row["row"])
                    self.moved.notify_all()
                if batches:
                    await consumer.commit({tp: records[-1].offset + 1 for tp, records in batches.items()})


@contextlib.asynccontextmanager
async def world_of(settings: Settings) -> AsyncIterator[World]:
    async with Sender(settings) as sender:
        world = World(settings, sender)
        world.following = asyncio.create_task(world.follow())
        try:
            yield world
        finally:
            await world.stop_following()


@contextlib.asynccontextmanager
async def running(
    main: Callable[[Settings, asyncio.Event], Coroutine[None, None, None]], settings: Settings
) -> AsyncIterator[asyncio.Event]:
    """Runs a role's `main` in this event loop until the end of the block, or until the event it yields is set."""
    stop = asyncio.Event()
    role = asyncio.create_task(main(settings, stop))
    try:
        yield stop
    finally:
        stop.set()
        await role


async def limit_records(settings: Settings, *limited: Topic) -> None:
    """Lets Kafka take only batches of `TINY_RECORD_BYTES` on some topics; returns once it does so."""
    names = [topic_name(topic, settings) for topic in limited]
    config = {"max.message.bytes": str(TINY_RECORD_BYTES)}
    async with admin_client(settings) as admin:
        answers = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, config) for name in names])
        assert all(error_code == 0 for answer in answers for error_code, *_ in answer.resources)

    async def is_limited() -> bool:
        return all([await most_record_bytes(name, settings) == TINY_RECORD_BYTES for name in names])

    await eventually(is_limited, what="Kafka to limit the topics' records")


async def ends_of(topic: Topic, settings: Settings) -> dict[TopicPartition, int]:
    """The present ends of a topic's partitions."""
    async with started(make_consumer(settings)) as consumer:
        partitions = await partitions_of(consumer, topic_name(topic, settings))
        ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
        return ends


def now() -> datetime:
    return datetime.now(UTC)


def numbers_file(rows: int, *, bad_every: int = 0) -> bytes:
    """A CSV of fictional phones; every so many rows one without a phone."""
    lines = ["name,phone"]
    for row in range(1, rows + 1):
        phone = "n/a" if bad_every and row % bad_every == 0 else f"+1{212 + row % 2}555{row % 10_000:04d}"
        lines.append(f"Name {row},{phone}")
    return ("\n".join(lines) + "\n").encode()

"""Gives the routes what they stand on: SQL read off the event loop, the live hub, commands acknowledged by Kafka."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, TypeVar

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from pydantic import TypeAdapter, ValidationError

from schemas import topics
from schemas.codec import encode, where_and_what
from schemas.interface import Upload
from schemas.settings import Settings
from schemas.topics import Topic
from schemas.upload_events import UploadEventBase
from schemas.uploads import UploadState
from schemas.values import UploadId
from services.assembler.domain.positions import Offsets
from services.assembler.domain.stored import StoredUpload
from services.assembler.domain.views import upload_view
from services.assembler.status.bad_record_log import BadRecords
from services.assembler.status.eta import Feeding, eta_of, feeding_of
from services.assembler.status.live import LiveHub
from services.assembler.status.why import why_of
from services.assembler.store import reads
from services.assembler.store.connections import Connection, DatabaseUnavailable, Engine, reading
from services.assembler.store.fences import load_fences
from services.runtime.identity import Identity
from services.runtime.kafka import topic_name
from services.runtime.partitions import partition_of
from services.runtime.problems import ProblemError

T = TypeVar("T")
log = logging.getLogger(__name__)
JOINED_WAIT_SECONDS: Final = 2.0
"""An upload that was made a moment ago is waited for so long before the client is asked to come again."""
ACK_SECONDS: Final = 10.0
FEEDINGS_SECONDS: Final = 1.0
_UPLOAD_ID: Final[TypeAdapter[str]] = TypeAdapter(UploadId)
_MOVING: Final[tuple[UploadState, ...]] = ("in_progress",)


@dataclass
class Backend:
    """What every route needs; one per application."""

    settings: Settings
    engine: Engine
    producer: AIOKafkaProducer
    hub: LiveHub
    bad_records: BadRecords
    epoch: str
    _feedings: dict[str, Feeding] = field(default_factory=dict)
    _feedings_until: float = 0.0

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Runs a query of the store in a thread, in one snapshot.

        Raises:
            ProblemError: 503 while the database does not answer.
        """
        try:
            return await asyncio.to_thread(self._read, query)
        except DatabaseUnavailable:
            raise ProblemError(
                503,
                "database-not-available",
                "The database does not answer",
                "Uploads go on meanwhile; ask again in a moment.",
                headers={"Retry-After": "2"},
            ) from None

    def _read(self, query: Callable[[Connection], T]) -> T:
        with reading(self.engine) as connection:
            return query(connection)

    async def find(self, identity: Identity, upload_id: str) -> StoredUpload:
        """The upload, if the identity may see it. One that may still be on its way into SQL is waited for.

        Raises:
            ProblemError: 404 when there is none for this identity, 503 when it is too early to say so.
        """
        record = await self._find(upload_id) if is_upload_id(upload_id) else None
        if record is None or not identity.may_see(record.owner or ""):
            raise ProblemError(404, "no-such-upload", "No such upload", "There is no upload with this id.")
        return record

    async def _find(self, upload_id: str) -> StoredUpload | None:
        record = await self.read(lambda connection: reads.upload(connection, upload_id))
        return await self._once_joined(upload_id) if record is None else record

    async def wait_for(
        self, upload_id: str, good: Callable[[StoredUpload | None], bool], seconds: float
    ) -> StoredUpload | None:
        """The upload as soon as it is as wanted, or as it is when the time is over."""
        deadline = time.monotonic() + seconds
        with self.hub.watch(upload_id) as watcher:
            while True:
                record = await self.read(lambda connection: reads.upload(connection, upload_id))
                left = deadline - time.monotonic()
                if good(record) or left <= 0:
                    return record
                # News may be missed while the live connection is made anew, so now and then it looks by itself.
                await watcher.wait(min(left, seconds / 20))

    async def _once_joined(self, upload_id: str) -> StoredUpload | None:
        """The upload as of everything that was in the log when it was asked for: None means that it does not exist.

        Raises:
            ProblemError: 503 when the join is not that far in time, or Kafka does not say how far the log goes.
        """
        end = await self.hub.end_of_events(upload_id)
        deadline = time.monotonic() + JOINED_WAIT_SECONDS
        with self.hub.watch(upload_id) as watcher:
            while end is not None:
                record, joined = await self.read(
                    lambda connection: (
                        reads.upload(connection, upload_id),
                        load_fences(connection, [end.partition]).get(end.partition, Offsets()).upload_events,
                    )
                )
                if record is not None or joined >= end.offset:
                    return record
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                await watcher.wait(min(left, 0.1))
        raise ProblemError(
            503,
            "not-there-yet",
            "The upload is not there yet",
            "It may have been made a moment ago and not be recorded yet. Ask again in a second.",
            headers={"Retry-After": "1"},
        )

    async def view(self, record: StoredUpload) -> Upload:
        """The upload as people see it, with its place in the queue, its time left and why it waits.

        Raises:
            ProblemError: 404 when an earlier version stored it with values that no upload has today.
        """
        views = await self.views([record])
        if not views:
            raise ProblemError(
                404, "no-such-upload", "No such upload", "An earlier version stored it; upload it again."
            )
        return views[0]

    async def views(self, records: list[StoredUpload]) -> list[Upload]:
        """Those of a list. One that cannot be shown is passed over: it must not hide the others."""
        feedings = await self._feedings_for(records)
        views = []
        for record in records:
            try:
                views.append(self._view(record, feedings))
            except ValidationError as error:
                log.warning("upload no %d cannot be shown: %s", record.no, where_and_what(error))
        return views

    async def _feedings_for(self, records: list[StoredUpload]) -> dict[str, Feeding]:
        return await self._unfed_uploads() if any(record.state in _MOVING for record in records) else {}

    def _view(self, record: StoredUpload, feedings: dict[str, Feeding]) -> Upload:
        now = datetime.now(UTC)
        around = self.hub.surroundings()
        moving = record.state in _MOVING
        lane = around.lanes.get(record.id)
        return upload_view(
            record,
            settings=self.settings,
            why=why_of(record.id, record.state, record.counts, around, fed=record.fed_at is not None, now=now),
            position=None if lane is None or not moving else lane.position,
            eta=eta_of(record.id, around.lookup, feedings, now=now) if moving else None,
        )

    async def _unfed_uploads(self) -> dict[str, Feeding]:
        """Of every moving upload, what is not yet in the queue; at most a second old."""
        if time.monotonic() >= self._feedings_until:
            moving = await self.read(lambda connection: reads.list_uploads(connection, states=_MOVING, limit=500))
            self._feedings = {
                record.id: feeding_of(
                    record.counts,
                    usable=record.plan_usable,
                    planned_calls=None
                    if record.plan_distinct is None
                    else max(0, record.plan_distinct - (record.plan_known or 0)),
                )
                for record in moving
            }
            self._feedings_until = time.monotonic() + FEEDINGS_SECONDS
        return self._feedings

    async def publish_event(self, event: UploadEventBase) -> None:
        """Writes a command to `upload-events`; returns when Kafka has it."""
        await self.publish(topics.UPLOAD_EVENTS, event.upload_id, encode(event))

    async def publish(self, topic: Topic, key: str, value: bytes | None, *, partition: int | None = None) -> None:
        """Writes a record; returns when Kafka has it.

        Raises:
            ProblemError: 503 when Kafka does not take it in time.
        """
        try:
            async with asyncio.timeout(ACK_SECONDS):
                await self.producer.send_and_wait(
                    topic_name(topic, self.settings), value, key=key.encode(), partition=partition
                )
        except (KafkaError, TimeoutError):
            raise log_not_available() from None

    async def partition_of(self, topic: Topic, key: str) -> int:
        """The partition that a key belongs to, by the rule that all writers of the topic share."""
        return partition_of(key.encode(), len(await self.producer.partitions_for(topic_name(topic, self.settings))))


def log_not_available() -> ProblemError:
    return ProblemError(
        503,
        "log-not-available",
        "The command could not be stored",
        "The message log does not answer at the moment. Send the command again; repeating it does no harm.",
        headers={"Retry-After": "5"},
    )


def is_upload_id(text: str) -> bool:
    """Whether an upload can have this id; what cannot be one never reaches the database."""
    try:
        _UPLOAD_ID.validate_python(text)
    except ValidationError:
        return False
    return True

"""Publishes uploads' progress from SQL: twice a second what changed, every 30 seconds all that is unfinished."""

import asyncio
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime

from aiokafka import AIOKafkaProducer

from schemas import topics
from schemas.codec import encode
from schemas.settings import Settings
from schemas.uploads import UploadProgress
from services.assembler.database import Database
from services.assembler.store.progress_reads import changed_uploads, mark_progress_published, unfinished_uploads
from services.assembler.store.records import UploadRecord
from services.runtime.kafka import topic_name

INTERVAL_SECONDS = 0.5
REPEAT_SECONDS = 30.0


def progress_of(record: UploadRecord, *, epoch: str, now: datetime) -> UploadProgress:
    """What `upload-progress` says of an upload."""
    return UploadProgress(
        upload_id=record.id,
        epoch=epoch,
        seq=record.version,
        at=now,
        state=record.state,
        round=record.round,
        counts=record.counts,
        known=record.plan_known,
    )


class ProgressPublisher:
    """Publishes for the uploads whose events lie on the partitions that this join owns at the moment."""

    def __init__(
        self,
        database: Database,
        producer: AIOKafkaProducer,
        settings: Settings,
        *,
        epoch: str,
        partitions: Callable[[], Collection[int]],
    ) -> None:
        self._database = database
        self._producer = producer
        self._topic = topic_name(topics.UPLOAD_PROGRESS, settings)
        self._epoch = epoch
        self._partitions = partitions

    async def run(self) -> None:
        """Publishes until cancelled."""
        loop = asyncio.get_running_loop()
        repeat_at = loop.time()
        while True:
            await self.publish_changed()
            if loop.time() >= repeat_at:
                await self._repeat()
                repeat_at = loop.time() + REPEAT_SECONDS
            await asyncio.sleep(INTERVAL_SECONDS)

    async def publish_changed(self) -> None:
        """Publishes every upload whose newest version has not been published; marks it once Kafka has it."""
        partitions = self._partitions()
        if not partitions:
            return
        changed = await self._database.read(lambda connection: changed_uploads(connection, partitions))
        if not changed:
            return
        await self._send(changed)
        versions = {record.no: record.version for record in changed}
        await self._database.write(lambda connection: mark_progress_published(connection, versions))

    async def _repeat(self) -> None:
        partitions = self._partitions()
        if partitions:
            await self._send(await self._database.read(lambda connection: unfinished_uploads(connection, partitions)))

    async def _send(self, records: Iterable[UploadRecord]) -> None:
        now = datetime.now(UTC)
        sent = [
            await self._producer.send(self._topic, self._value(record, now), key=record.id.encode())
            for record in records
            if record.created_at is not None
        ]
        await asyncio.gather(*sent)

    def _value(self, record: UploadRecord, now: datetime) -> bytes | None:
        # A deleted upload leaves nothing behind on a compacted topic.
        if record.deleted_at is not None:
            return None
        return encode(progress_of(record, epoch=self._epoch, now=now))

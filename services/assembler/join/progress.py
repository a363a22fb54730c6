"""Publishes uploads' progress from SQL: changed uploads twice a second, all unfinished ones every 30 seconds."""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import UTC, datetime

from aiokafka import AIOKafkaProducer
from pydantic import ValidationError

from schemas import topics
from schemas.codec import encode
from schemas.settings import Settings
from schemas.uploads import UploadProgress
from services.assembler.domain.stored import StoredUpload
from services.assembler.join.database import Database
from services.assembler.store.join_reads import changed_uploads, mark_progress_published, unfinished_uploads
from services.runtime.kafka import topic_name

INTERVAL_SECONDS = 0.5
REPEAT_SECONDS = 30.0
log = logging.getLogger(__name__)


def progress_of(upload: StoredUpload, *, epoch: str, now: datetime) -> UploadProgress:
    """The message on `upload-progress` about an upload."""
    return UploadProgress(
        upload_id=upload.id,
        epoch=epoch,
        seq=upload.version,
        at=now,
        state=upload.state,
        round=upload.round,
        counts=upload.counts,
        known=upload.plan_known,
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
        versions = {upload.no: upload.version for upload in changed}
        await self._database.write(lambda connection: mark_progress_published(connection, versions))

    async def _repeat(self) -> None:
        partitions = self._partitions()
        if partitions:
            await self._send(await self._database.read(lambda connection: unfinished_uploads(connection, partitions)))

    async def _send(self, uploads: Iterable[StoredUpload]) -> None:
        now = datetime.now(UTC)
        sent = [
            await self._producer.send(self._topic, value, key=upload.id.encode())
            for upload, value in self._values(uploads, now)
        ]
        await asyncio.gather(*sent)

    def _values(self, uploads: Iterable[StoredUpload], now: datetime) -> Iterator[tuple[StoredUpload, bytes | None]]:
        for upload in uploads:
            if upload.deleted_at is not None and upload.created_at is not None:
                # A deleted upload leaves nothing behind on a compacted topic.
                yield upload, None
            elif upload.created_at is not None:
                try:
                    yield upload, encode(progress_of(upload, epoch=self._epoch, now=now))
                except ValidationError as error:
                    # An older version stored it: it accepted ids that readers refuse today.
                    log.warning(
                        "upload number %d: its progress cannot be published (%d errors)", upload.no, error.error_count()
                    )

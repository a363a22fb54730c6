"""Drops the rows of uploads that are deleted or older than `SCRUB_KEEP_DAYS`, in small steps."""

import asyncio
import logging
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta

from schemas.settings import Settings
from services.assembler.domain.positions import LEADING_PARTITION
from services.assembler.join.database import Database
from services.assembler.store.retention import drop_rows, drop_sweeps, expire_uploads

EVERY_SECONDS = 60.0
BETWEEN_CHUNKS_SECONDS = 0.05
log = logging.getLogger(__name__)


def uploads_kept_since(now: datetime, settings: Settings) -> datetime:
    """The time before which an upload must be opened to be dropped."""
    return now - timedelta(days=settings.keep_days)


class Retention:
    """Drops in short transactions, so that the join never waits long. The join of partition 0 does it for all."""

    def __init__(self, database: Database, settings: Settings, *, partitions: Callable[[], Collection[int]]) -> None:
        self._database = database
        self._settings = settings
        self._partitions = partitions

    async def run(self) -> None:
        """Drops until cancelled."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            if LEADING_PARTITION in self._partitions():
                await self.drop(datetime.now(UTC))

    async def drop(self, now: datetime) -> None:
        """Drops everything that is due at this time."""
        before = uploads_kept_since(now, self._settings)
        expired = await self._database.write(lambda connection: expire_uploads(connection, before=before))
        if expired:
            log.info("%d uploads are older than %d days and are dropped", expired, self._settings.keep_days)
        await self._database.write(lambda connection: drop_sweeps(connection, now=now))
        while await self._database.write(drop_rows):
            await asyncio.sleep(BETWEEN_CHUNKS_SECONDS)

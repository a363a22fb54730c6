"""Owns the feeder's disposable folder: files fetched from Kafka, and what was prepared of them."""

import errno
import fcntl
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import IO

from aiokafka import TopicPartition

from schemas import topics
from schemas.settings import Settings
from schemas.uploads import FileLocation
from services.runtime.kafka import MAX_RECORD_BYTES, make_consumer, started, topic_name
from services.runtime.process import RefusedToStart

_FETCH_SECONDS = 60.0
_RECORDS_AT_ONCE = 2
"""Records are unpacked as they are taken: without this bound a file that packs well is in memory all at once."""


class FileGone(Exception):
    """Some of the file's records are no longer in Kafka."""


class NoRoom(Exception):
    """The disk that holds the spool is full."""


class Spool:
    """`<SCRUB_DATA>/feeder-<instance>/spool`. Emptied at the start: all of it can be made again from Kafka."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._home = settings.data / f"feeder-{settings.instance}"
        self._lock: IO[bytes] | None = None

    def __enter__(self) -> "Spool":
        self._home.mkdir(parents=True, exist_ok=True)
        self._lock = (self._home / "lock").open("wb")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise RefusedToStart(
                f"Another feeder uses {self._home}: give each its own SCRUB_INSTANCE or SCRUB_DATA."
            ) from None
        shutil.rmtree(self._folder, ignore_errors=True)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._lock is not None
        shutil.rmtree(self._folder, ignore_errors=True)
        self._lock.close()

    @property
    def _folder(self) -> Path:
        return self._home / "spool"

    def folder_of(self, upload_id: str, check_id: str) -> Path:
        """The folder of one reading of an upload, made if need be."""
        folder = self._folder / upload_id / check_id
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def discard(self, upload_id: str) -> None:
        """Forgets all of an upload."""
        shutil.rmtree(self._folder / upload_id, ignore_errors=True)

    def keep_only(self, upload_ids: Collection[str]) -> None:
        """Forgets all other uploads: another feeder has them now, or they are over."""
        for folder in self._folder.glob("*"):
            if folder.name not in upload_ids:
                self.discard(folder.name)

    async def fetch(self, location: FileLocation, target: Path) -> None:
        """Writes the file's bytes, read from Kafka by offset. Other uploads' records between them are skipped.

        Raises:
            FileGone: the log begins after the file's first record, or not all of them are there.
            NoRoom: the disk is full.
            TimeoutError: Kafka gave nothing for a minute.
        """
        try:
            await self._fetch(location, target)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoRoom from None
            raise

    async def _fetch(self, location: FileLocation, target: Path) -> None:
        tp = TopicPartition(topic_name(topics.UPLOAD_FILES, self._settings), location.partition)
        attempt = location.attempt.encode()
        chunks = 0
        # More would be read ahead for nothing: the disk is the slower side.
        async with started(make_consumer(self._settings, max_partition_fetch_bytes=MAX_RECORD_BYTES)) as consumer:
            consumer.assign([tp])
            if (await consumer.beginning_offsets([tp]))[tp] > location.first_offset:
                raise FileGone
            consumer.seek(tp, location.first_offset)
            with target.open("wb") as file:
                while await consumer.position(tp) <= location.last_offset and chunks < location.chunks:
                    batches = await consumer.getmany(
                        tp, timeout_ms=int(_FETCH_SECONDS * 1000), max_records=_RECORDS_AT_ONCE
                    )
                    if not batches:
                        raise TimeoutError
                    for record in batches[tp]:
                        if record.offset <= location.last_offset and ("attempt", attempt) in record.headers:
                            file.write(record.value)
                            chunks += 1
        if chunks != location.chunks:
            raise FileGone

"""Owns the feeder's disposable folder: files fetched from Kafka, and the rows prepared from them."""

import errno
import os
import shutil
from collections.abc import Collection
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import IO

from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas import topics
from schemas.settings import Settings
from schemas.uploads import FileLocation
from services.runtime.file_lock import try_lock
from services.runtime.kafka import MAX_RECORD_BYTES, make_consumer, partitions_of, started, topic_name
from services.runtime.process import RefusedToStart

_FETCH_MS = 60_000
_BLOCK_BYTES = 512
"""The unit of `st_blocks`."""
_DISK_FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT)
_RECORDS_AT_ONCE = 2
"""Records are decompressed when they are fetched. Without this bound a whole file could be in memory at once."""


class FileGone(Exception):
    """Kafka does not hold all of the file's records any more."""


class FileTooLarge(Exception):
    """The file has more bytes than `SCRUB_MAX_FILE_BYTES`, so the http role cannot have stored it."""


class DiskFull(Exception):
    """The disk that holds the spool is full."""


class Spool:
    """The folder `<SCRUB_DATA>/feeder-<instance>/spool`. Emptied at the start: Kafka holds the source of all of it.

    Its folders are named by hashes, because ids come from messages and must not be used in a path.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._home = settings.data / f"feeder-{settings.instance}"
        self._lock: IO[bytes] | None = None

    def __enter__(self) -> "Spool":
        self._home.mkdir(parents=True, exist_ok=True)
        self._lock = (self._home / "lock").open("wb")
        if not try_lock(self._lock):
            self._lock.close()
            raise RefusedToStart(f"Another feeder uses {self._home}: give each its own SCRUB_INSTANCE or SCRUB_DATA.")
        shutil.rmtree(self._folder, ignore_errors=True)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._lock is not None
        shutil.rmtree(self._folder, ignore_errors=True)
        self._lock.close()

    @property
    def _folder(self) -> Path:
        return self._home / "spool"

    def upload_folder(self, upload_id: str) -> Path:
        """The folder of an upload. It may not exist."""
        return self._folder / _folder_name(upload_id)

    def folder_of(self, upload_id: str, check_id: str) -> Path:
        """The folder of one check of an upload. It is created if it does not exist.

        Raises:
            NoRoom: the disk is full.
        """
        folder = self.upload_folder(upload_id) / _folder_name(check_id)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise_if_disk_full(error)
            raise
        return folder

    def discard(self, upload_id: str) -> None:
        """Delete the files of an upload."""
        shutil.rmtree(self.upload_folder(upload_id), ignore_errors=True)

    def keep_only(self, upload_ids: Collection[str]) -> None:
        """Delete the files of all other uploads: another feeder has them now, or they are over."""
        kept = {_folder_name(upload_id) for upload_id in upload_ids}
        for folder in self._folder.glob("*"):
            if folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)

    def sizes(self, upload_id: str) -> tuple[int, int]:
        """Bytes on the disk of an upload, and of all other uploads together."""
        own = _bytes_in(self.upload_folder(upload_id))
        return own, _bytes_in(self._folder) - own

    async def fetch(self, location: FileLocation, target: Path) -> None:
        """Read the file from Kafka by offset and write its bytes to `target`. Records of other uploads are skipped.

        Raises:
            FileGone: Kafka does not hold the records of the location any more.
            FileTooLarge: the file has more bytes than the settings allow.
            NoRoom: the disk is full.
            TimeoutError: Kafka answers, but sent no record of the file for a minute.
            KafkaError: Kafka does not answer.
        """
        tp = TopicPartition(topic_name(topics.UPLOAD_FILES, self._settings), location.partition)
        # A larger fetch would only wait in memory: the disk is slower than Kafka.
        async with started(make_consumer(self._settings, max_partition_fetch_bytes=MAX_RECORD_BYTES)) as consumer:
            if not is_consistent(location) or tp not in await partitions_of(consumer, tp.topic):
                raise FileGone
            consumer.assign([tp])
            begin, end = (await consumer.beginning_offsets([tp]))[tp], (await consumer.end_offsets([tp]))[tp]
            if not begin <= location.first_offset <= location.last_offset < end:
                raise FileGone
            consumer.seek(tp, location.first_offset)
            try:
                await self._copy(consumer, tp, location, target)
            except OSError as error:
                raise_if_disk_full(error)
                raise

    async def _copy(self, consumer: AIOKafkaConsumer, tp: TopicPartition, location: FileLocation, target: Path) -> None:
        attempt = ("attempt", location.attempt.encode())
        chunks = written_bytes = 0
        with target.open("wb") as file:
            while await consumer.position(tp) <= location.last_offset and chunks < location.chunks:
                batches = await consumer.getmany(tp, timeout_ms=_FETCH_MS, max_records=_RECORDS_AT_ONCE)
                if not batches:
                    # Raises KafkaError if Kafka is away. Otherwise only this file cannot be read.
                    await consumer.end_offsets([tp])
                    raise TimeoutError
                for record in batches[tp]:
                    if record.offset <= location.last_offset and record.value and attempt in record.headers:
                        file.write(record.value)
                        chunks += 1
                        written_bytes += len(record.value)
                if written_bytes > self._settings.max_file_bytes:
                    raise FileTooLarge
        if chunks != location.chunks:
            raise FileGone


def is_consistent(location: FileLocation) -> bool:
    """Whether so many chunks fit between the offsets. This does not say that Kafka holds them."""
    return 0 < location.chunks <= location.last_offset - location.first_offset + 1


def raise_if_disk_full(error: OSError) -> None:
    """Raise DiskFull if the error says that the disk is full."""
    if error.errno in _DISK_FULL_ERRORS:
        raise DiskFull from None


def _folder_name(id_: str) -> str:
    return sha256(id_.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _bytes_in(folder: Path) -> int:
    """Bytes on the disk of all files below a folder."""
    total = 0
    for at, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # gone meanwhile
                total += (Path(at) / name).lstat().st_blocks * _BLOCK_BYTES
    return total

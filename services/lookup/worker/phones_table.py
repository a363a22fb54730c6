"""Owns the Faust table `phones`: batched reads and writes of its RocksDB, each write also in the changelog.

Faust's own table access finds the partition by the event that is being processed, and takes one key at a time; more
than a hundred pending changelog records also halt the app's fetch loop. Here the partition is always named, so that a
batch from several partitions is read and written in one go, and the changelog is written by an idempotent producer.
These are the only lines that touch the inside of Faust 0.15.3's store.
"""

import logging
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import faust
import rocksdict
from faust.types import TP

from schemas import topics
from schemas.codec import UndecodableRecord, decode, encode
from schemas.settings import Settings
from services.lookup.worker.known import KnownPhone, News, with_news
from services.lookup.worker.publishing import Publisher
from services.runtime.kafka import topic_name

log = logging.getLogger("worker")

_MIB = 1024 * 1024
ROCKSDB_OPTIONS: Mapping[str, Any] = {
    "driver": "rocksdict",
    "block_cache_size": 8 * _MIB,
    "write_buffer_size": 8 * _MIB,
    "max_write_buffer_number": 2,
    "max_open_files": 128,
}
"""For each partition's database. Faust's defaults are a block cache of 2 GiB and three buffers of 64 MiB."""


_NewValue = tuple[bytes, bytes | None]
"""A phone and what the table is to hold of it; None erases it."""


class TableError(Exception):
    """RocksDB could not be opened, read or written; the process must end and begin again."""


class Heard(NamedTuple):
    """What a record of `lookup-results` in this partition says of a phone."""

    partition: int
    phone: str
    news: News


class Phones:
    """Phone → what is kept of its results (`known.py`), in the partition where its records lie."""

    def __init__(self, app: faust.App, publisher: Publisher, settings: Settings) -> None:
        self._table = app.Table(
            "phones", key_type=bytes, value_type=bytes, partitions=settings.partitions, options=dict(ROCKSDB_OPTIONS)
        )
        self._publisher = publisher
        self._changelog = topic_name(topics.LOOKUP_PHONES_CHANGELOG, settings)

    def known(self, partition: int, phones: Collection[str]) -> dict[str, KnownPhone]:
        """What a partition knows of these phones; unknown ones are left out. Raises TableError."""
        names = list(phones)
        with _reported():
            values = self._store._db_for_partition(partition).get([name.encode() for name in names])
        found = {}
        for name, value in zip(names, values, strict=True):
            if value is not None and (known := _readable(value)) is not None:
                found[name] = known
        return found

    async def remember(self, heard: Sequence[Heard]) -> None:
        """Adds what was heard, in order; returns once Kafka has acknowledged each new value in the changelog.

        1. Write it locally. 2. Write it to the changelog, await the acknowledgements. 3. Note how far the local data
        follow the changelog. Local data that are ahead of it after a crash do no harm: they say what `lookup-results`
        says, and that is read again from the last commit. For that reason a value that is there already is written to
        the changelog all the same.

        Raises:
            TableError, KafkaError: not all of it is safe. It may be remembered again.
        """
        changes = self._changes(heard)
        for partition, records in changes.items():
            self._write(partition, records)
        ends = await self._publisher.publish(self._changelog, changes)
        with _reported():
            for partition, offset in ends.items():
                if offset >= 0:
                    self._store.set_persisted_offset(TP(self._changelog, partition), offset)

    def _changes(self, heard: Sequence[Heard]) -> dict[int, list[_NewValue]]:
        news: dict[int, dict[str, list[News]]] = defaultdict(lambda: defaultdict(list))
        for each in heard:
            news[each.partition][each.phone].append(each.news)
        changes: dict[int, list[_NewValue]] = {}
        for partition, by_phone in news.items():
            before = self.known(partition, by_phone)
            changes[partition] = []
            for phone, said in by_phone.items():
                known = before.get(phone)
                for each_news in said:
                    known = with_news(known, each_news)
                changes[partition].append((phone.encode(), encode(known) if known else None))
        return changes

    def _write(self, partition: int, records: Sequence[_NewValue]) -> None:
        with _reported():
            batch = rocksdict.WriteBatch(raw_mode=True)
            for key, value in records:
                if value is None:
                    batch.delete(key)
                else:
                    batch.put(key, value)
            self._store._db_for_partition(partition).write(batch)

    @property
    def _store(self) -> Any:
        return self._table.data


def _readable(value: bytes) -> KnownPhone | None:
    """None if it is not ours: then the phone is unknown, and what is learned of it replaces the value."""
    try:
        return decode(KnownPhone, value)
    except UndecodableRecord as error:
        log.warning("a value of the table cannot be read and counts as unknown: %s", error)
        return None


@contextmanager
def _reported() -> Iterator[None]:
    # rocksdict raises bare `Exception`, which could not be told from a defect in the work on a record.
    try:
        yield
    except Exception as error:
        raise TableError(f"the table failed: {type(error).__name__}") from error

"""Owns the Faust table `phones`: reads and writes its RocksDB in batches, and writes each change to the changelog.

Faust's own table access takes one key at a time, in the partition of the current event. More than a hundred pending
changelog records also stop the fetch loop of the app. This module names the partition in each call, so that a batch of
several partitions is read and written at once, and writes the changelog with an idempotent producer. No other module
touches the internals of the store of Faust 0.15.3.
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
from services.lookup.worker.known_phones import KnownPhone, PhoneUpdate, updated
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
"""The options of each partition's database. Faust's defaults: a block cache of 2 GiB and three buffers of 64 MiB."""


_NewValue = tuple[bytes, bytes | None]
"""A phone and its new value in the table. None erases it."""


class TableError(Exception):
    """RocksDB could not be opened, read or written. The process must end and start again."""


class PlacedUpdate(NamedTuple):
    """The change that a record of `lookup-results` in this partition makes to a phone."""

    partition: int
    phone: str
    update: PhoneUpdate


class PhonesTable:
    """Maps each phone to its `KnownPhone`, in the partition of the phone's records."""

    def __init__(self, app: faust.App, publisher: Publisher, settings: Settings) -> None:
        self._table = app.Table(
            "phones", key_type=bytes, value_type=bytes, partitions=settings.partitions, options=dict(ROCKSDB_OPTIONS)
        )
        self._publisher = publisher
        self._changelog = topic_name(topics.LOOKUP_PHONES_CHANGELOG, settings)

    def known(self, partition: int, phones: Collection[str]) -> dict[str, KnownPhone]:
        """The values of these phones in a partition. Unknown phones are left out. Raises TableError."""
        names = list(phones)
        with _reported():
            values = self._store._db_for_partition(partition).get([name.encode() for name in names])
        found = {}
        for name, value in zip(names, values, strict=True):
            if value is not None and (known := _readable(value)) is not None:
                found[name] = known
        return found

    async def remember(self, updates: Sequence[PlacedUpdate]) -> None:
        """Applies the updates in order. Returns once Kafka has acknowledged each new value in the changelog.

        1. Compute the new values.
        2. Write them to RocksDB.
        3. Write them to the changelog, and wait for the acknowledgements.
        4. Store the changelog offset up to which RocksDB is complete.

        After a crash, RocksDB may be ahead of the changelog. That is harmless: its values come from `lookup-results`,
        which is read again from the last commit. Therefore a value that is in RocksDB already is written to the
        changelog again.

        Raises:
            TableError, KafkaError: not all values are safe. The same updates may be applied again.
        """
        # 1. Compute.
        changes = self._changes(updates)
        # 2. Write to RocksDB.
        for partition, records in changes.items():
            self._write(partition, records)
        # 3. Write to the changelog.
        ends = await self._publisher.publish(self._changelog, changes)
        # 4. Store the offsets.
        with _reported():
            for partition, offset in ends.items():
                if offset >= 0:
                    self._store.set_persisted_offset(TP(self._changelog, partition), offset)

    def _changes(self, updates: Sequence[PlacedUpdate]) -> dict[int, list[_NewValue]]:
        by_partition: dict[int, dict[str, list[PhoneUpdate]]] = defaultdict(lambda: defaultdict(list))
        for each in updates:
            by_partition[each.partition][each.phone].append(each.update)
        changes: dict[int, list[_NewValue]] = {}
        for partition, by_phone in by_partition.items():
            before = self.known(partition, by_phone)
            changes[partition] = []
            for phone, of_phone in by_phone.items():
                known = before.get(phone)
                for each_update in of_phone:
                    known = updated(known, each_update)
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
    """The decoded value. None: it is not readable, so the phone is unknown, and its next update replaces the value."""
    try:
        return decode(KnownPhone, value)
    except UndecodableRecord as error:
        log.warning("a value of the table cannot be read and counts as unknown: %s", error)
        return None


@contextmanager
def _reported() -> Iterator[None]:
    # rocksdict raises bare `Exception`, which looks like a failure of the work on one record.
    try:
        yield
    except Exception as error:
        raise TableError(f"the table failed: {type(error).__name__}") from error

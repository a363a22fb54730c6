"""Owns the Faust table `phones`: batched reads and writes of its RocksDB, each write also in the changelog.

Faust's own table access finds the partition by the event that is being processed, and takes one key at a time; more
than a hundred pending changelog records also halt the app's fetch loop. Here the partition is always named, so that a
batch from several partitions is read and written in one go, and the changelog is written by an idempotent producer.
These are the only lines that touch the inside of Faust 0.15.3's store.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import faust
import rocksdict
from aiokafka import AIOKafkaProducer
from faust.types import TP

from schemas import topics
from schemas.codec import decode, encode
from schemas.settings import Settings
from services.lookup.known import KnownPhone
from services.lookup.outputs import Record, publish
from services.runtime.kafka import topic_name

_MIB = 1024 * 1024
ROCKSDB_OPTIONS: Mapping[str, Any] = {
    "driver": "rocksdict",
    "block_cache_size": 8 * _MIB,
    "write_buffer_size": 8 * _MIB,
    "max_write_buffer_number": 2,
    "max_open_files": 128,
}
"""For each partition's database. Faust's defaults are a block cache of 2 GiB and three buffers of 64 MiB."""


@dataclass(frozen=True, slots=True)
class Change:
    """A phone's new value in its partition; None erases it."""

    partition: int
    phone: str
    known: KnownPhone | None


class Phones:
    """Phone → time and outcome of its last result that is not a failure, as `lookup-results` says it."""

    def __init__(self, app: faust.App, producer: AIOKafkaProducer, settings: Settings) -> None:
        self._table = app.Table(
            "phones", key_type=bytes, value_type=bytes, partitions=settings.partitions, options=dict(ROCKSDB_OPTIONS)
        )
        self._producer = producer
        self._changelog = topic_name(topics.LOOKUP_PHONES_CHANGELOG, settings)

    def looked_up_at(self, wanted: Mapping[int, set[str]]) -> dict[str, datetime]:
        """When each of the phones, given by partition, was looked up; unknown ones are left out."""
        found: dict[str, datetime] = {}
        for partition, phones in wanted.items():
            names = list(phones)
            values = self._store._db_for_partition(partition).get([name.encode() for name in names])
            for name, value in zip(names, values, strict=True):
                if value is not None:
                    found[name] = decode(KnownPhone, value).looked_up_at
        return found

    async def apply(self, changes: list[Change]) -> None:
        """Writes changes, in order; returns once Kafka has acknowledged each in the changelog.

        1. Write them locally. 2. Write them to the changelog, await the acknowledgements. 3. Note how far the local
        data follow the changelog. Local data that are ahead of it after a crash do no harm: they say what
        `lookup-results` says, and that is read again from the last commit.
        """
        by_partition: dict[int, list[Record]] = defaultdict(list)
        for change in changes:
            value = encode(change.known) if change.known else None
            by_partition[change.partition].append((change.phone.encode(), value))
        for partition, records in by_partition.items():
            self._write(partition, records)
        writes = [publish(self._producer, self._changelog, *of) for of in by_partition.items()]
        for partition, offset in zip(by_partition, await asyncio.gather(*writes), strict=True):
            self._store.set_persisted_offset(TP(self._changelog, partition), offset)

    def _write(self, partition: int, records: list[Record]) -> None:
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

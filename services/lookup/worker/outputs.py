"""Sends the messages of the worker's agents. Each call returns only after Kafka has acknowledged them."""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from aiokafka import ConsumerRecord

from schemas import topics
from schemas.codec import encode
from schemas.lookups import LookupRequest
from schemas.rows import BadReason, BadRecord, bad_record_of
from schemas.settings import Settings
from services.lookup.worker.publishing import REFUSED_FOR_SIZE, Publisher, Record
from services.runtime.halves import find_by_halves
from services.runtime.kafka import topic_name

PUT_ASIDE_AT_ONCE: Final = 250
"""Each may take 45 kB."""
log = logging.getLogger("worker")


class UnprocessableRecord(NamedTuple):
    """A record that cannot be processed, and the reason. `error` repeats no value of the record."""

    record: ConsumerRecord
    reason: BadReason
    error: str


class Outputs:
    """Writes through its own idempotent producer. Faust's producer is not idempotent, and only logs errors."""

    def __init__(self, publisher: Publisher, settings: Settings) -> None:
        self._publisher = publisher
        self._settings = settings
        self._aside: Counter[BadReason] = Counter()

    async def row_partitions(self) -> int:
        """The number of partitions of `upload-rows`. Faust does not know it during a rebalance."""
        return await self._publisher.partitions_of(topic_name(topics.UPLOAD_ROWS, self._settings))

    async def request(self, requests: Iterable[LookupRequest]) -> None:
        """Sends requests to the gate. Their topic has one partition."""
        records = [(request.key.encode(), encode(request)) for request in requests]
        await self._publisher.publish(topic_name(topics.LOOKUP_REQUESTS, self._settings), {0: records})

    async def publish_again(self, rows: Mapping[int, Sequence[Record]]) -> None:
        """Publishes rows, with their phones as keys, to the given partitions."""
        await self._publisher.publish(topic_name(topics.UPLOAD_ROWS, self._settings), rows)

    async def put_aside(self, records: Sequence[UnprocessableRecord]) -> None:
        """Writes each record, bounded in size, to `bad-records`. Counts and logs the records."""
        for begin in range(0, len(records), PUT_ASIDE_AT_ONCE):
            part = [(each, self._bad_record(each)) for each in records[begin : begin + PUT_ASIDE_AT_ONCE]]
            too_large = await find_by_halves(part, self._publish_aside, is_environment=_is_not_for_size)
            for culprit in too_large:
                each, bad = part[culprit.index]
                await self._publish_aside([(each, bad.model_copy(update={"key": None, "value": None}))])
        if records:
            self._log(records)

    async def _publish_aside(self, part: Sequence[tuple[UnprocessableRecord, BadRecord]]) -> None:
        topic = topic_name(topics.BAD_RECORDS, self._settings)
        partitions = await self._publisher.partitions_of(topic)
        by_partition: dict[int, list[Record]] = defaultdict(list)
        for each, bad in part:
            by_partition[each.record.partition % partitions].append((None, encode(bad)))
        await self._publisher.publish(topic, by_partition)

    def _log(self, records: Sequence[UnprocessableRecord]) -> None:
        self._aside.update(each.reason for each in records)
        first = records[0]
        place = f"{first.record.topic}-{first.record.partition}@{first.record.offset}"
        log.error("put aside %d records, the first %s: %s: %s", len(records), place, first.reason, first.error)
        log.error("put aside so far: %s", dict(self._aside))

    def _bad_record(self, each: UnprocessableRecord) -> BadRecord:
        return bad_record_of(
            each.record,
            topic=each.record.topic,
            role="worker",
            instance=self._settings.instance,
            reason=each.reason,
            error=each.error,
            at=datetime.now(UTC),
        )


def _is_not_for_size(error: Exception) -> bool:
    return not isinstance(error, REFUSED_FOR_SIZE)

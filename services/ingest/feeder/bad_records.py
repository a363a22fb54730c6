"""Owns the bad records that are not yet written to `bad-records`. A process reports each bad record once."""

import logging
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from aiokafka import ConsumerRecord

from schemas import topics
from schemas.codec import encode
from schemas.rows import BadReason, bad_record_of
from schemas.settings import Settings
from services.ingest.sending import Sender
from services.runtime.kafka import topic_name

_MOST_WAITING: Final = 1_000
_MOST_REMEMBERED: Final = 100_000
log = logging.getLogger(__name__)


@dataclass(slots=True)
class BadRecordOutbox:
    """The bad records that wait to be written. Each assignment folds the log again and meets the same bad records."""

    settings: Settings
    _waiting: list[bytes] = field(default_factory=list)
    _reported: set[tuple[str, int, int]] = field(default_factory=set)

    def add(self, record: ConsumerRecord, *, reason: BadReason, error: str, now: datetime) -> None:
        """Report a record, unless it was reported before. Only its position, its size and its first bytes are kept."""
        place = (record.topic, record.partition, record.offset)
        if place in self._reported:
            return
        log.warning("put aside %s-%d@%d (%s): %s", *place, reason, error)
        if len(self._waiting) >= _MOST_WAITING:
            return  # Kafka is away; the next assignment meets the record again
        if len(self._reported) >= _MOST_REMEMBERED:
            self._reported.clear()
        self._reported.add(place)
        message = bad_record_of(
            record,
            topic=record.topic,
            role="feeder",
            instance=self.settings.instance,
            reason=reason,
            error=error,
            at=now,
        )
        self._waiting.append(encode(message))

    async def write(self, sender: Sender) -> None:
        """Write the waiting records. Raises KafkaError; they then wait for the next call."""
        if self._waiting:
            waiting = list(self._waiting)
            await sender.send_all(topic_name(topics.BAD_RECORDS, self.settings), waiting, key=None)
            del self._waiting[: len(waiting)]

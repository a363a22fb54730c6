"""Puts records aside on `bad-records`, each with its place in its log and the reason."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime

from aiokafka import AIOKafkaProducer

from schemas import topics
from schemas.codec import encode
from schemas.rows import BadReason, bad_record_of
from schemas.settings import Settings
from services.assembler.domain.decoding import Undecodable
from services.runtime.kafka import topic_name

log = logging.getLogger(__name__)


async def put_aside(
    producer: AIOKafkaProducer, settings: Settings, bad: Sequence[Undecodable], *, reason: BadReason
) -> None:
    """Returns when Kafka has them all."""
    topic = topic_name(topics.BAD_RECORDS, settings)
    sent = []
    for name, record, error in bad:
        log.error("put aside (%s): %s-%d@%d: %s", reason, name, record.partition, record.offset, error)
        kept = bad_record_of(
            record,
            topic=settings.topic_prefix + name,
            role="join",
            instance=settings.instance,
            reason=reason,
            error=error,
            at=datetime.now(UTC),
        )
        sent.append(await producer.send(topic, encode(kept)))
    await asyncio.gather(*sent)

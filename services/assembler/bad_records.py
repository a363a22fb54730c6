"""Publishes records that nobody can decode on `bad-records`, with where they came from and why."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime

from aiokafka import AIOKafkaProducer

from schemas import topics
from schemas.codec import encode
from schemas.rows import BadRecord
from schemas.settings import Settings
from services.assembler.decoding import Undecodable
from services.runtime.kafka import topic_name

KEPT_BYTES = 300_000
"""Most bytes of a value that are kept: in base64 they still fit into a record."""
log = logging.getLogger(__name__)


async def publish_bad_records(producer: AIOKafkaProducer, settings: Settings, bad: Sequence[Undecodable]) -> None:
    """Returns when Kafka has them all."""
    topic = topic_name(topics.BAD_RECORDS, settings)
    sent = []
    for record in bad:
        log.warning("undecodable record %s-%d@%d: %s", record.topic, record.partition, record.offset, record.error)
        sent.append(await producer.send(topic, encode(_bad_record(record, settings))))
    await asyncio.gather(*sent)


def _bad_record(record: Undecodable, settings: Settings) -> BadRecord:
    return BadRecord(
        topic=settings.topic_prefix + record.topic,
        partition=record.partition,
        offset=record.offset,
        error=record.error,
        key=None if record.key is None else record.key[:KEPT_BYTES],
        value=None if record.value is None else record.value[:KEPT_BYTES],
        seen_by=f"join-{settings.instance}",
        at=datetime.now(UTC),
    )

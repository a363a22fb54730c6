"""Publishes completion events from the outbox as CloudEvents 1.0 in binary mode: at least once, with a fixed id."""

import asyncio
from collections.abc import Callable, Collection
from datetime import UTC

from aiokafka import ConsumerRecord
from pydantic import ValidationError

from schemas import topics
from schemas.base import Message
from schemas.settings import Settings
from schemas.values import AnyMoment, Token, UploadId
from services.assembler.domain.completion_value import shortened
from services.assembler.join.database import Database
from services.assembler.join.sending import Outgoing, ShorteningSender
from services.assembler.store.outbox import Completion, mark_published, unpublished
from services.runtime.kafka import make_consumer, partitions_of, read_to_end, started, topic_name

LOOK_AGAIN_SECONDS = 5.0
SOURCE = "/phone-scrubber/assembler"
Headers = list[tuple[str, bytes]]


def headers_of(completion: Completion) -> Headers:
    """The headers of the event, by the Kafka protocol binding of CloudEvents 1.0 (section 3.2, binary content mode)."""
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", completion.id.encode()),
        ("ce_source", SOURCE.encode()),
        ("ce_type", completion.type.encode()),
        ("ce_subject", completion.upload_id.encode()),
        ("ce_time", completion.at.isoformat().replace("+00:00", "Z").encode()),
        ("content-type", b"application/json"),
    ]


class _Attributes(Message):
    ce_id: UploadId
    ce_type: Token
    ce_subject: UploadId
    ce_time: AnyMoment


def completion_in(record: ConsumerRecord) -> Completion | None:
    """The completion event in a record; None if the record is none of ours."""
    headers = {name: (value or b"").decode("utf-8", "replace") for name, value in record.headers}
    try:
        given = _Attributes.model_validate(headers)
    except ValidationError:
        return None
    at = given.ce_time.astimezone(UTC)
    return Completion(given.ce_id, given.ce_subject, given.ce_type, at, bytes(record.value or b""))


class CompletionPublisher:
    """Publishes the outbox of the uploads whose events lie on the partitions that this join owns."""

    def __init__(
        self,
        database: Database,
        sender: ShorteningSender,
        settings: Settings,
        *,
        partitions: Callable[[], Collection[int]],
    ) -> None:
        self._database = database
        self._sender = sender
        self._topic = topic_name(topics.UPLOAD_COMPLETIONS, settings)
        self._partitions = partitions
        self._news = asyncio.Event()

    def wake(self) -> None:
        """Tells the publisher that the outbox has a new event."""
        self._news.set()

    async def run(self) -> None:
        """Publishes until cancelled: at once after `wake`, and every few seconds for what other joins wrote."""
        while True:
            self._news.clear()
            while await self.publish_some():
                pass
            try:
                await asyncio.wait_for(self._news.wait(), LOOK_AGAIN_SECONDS)
            except TimeoutError:
                continue

    async def publish_some(self) -> bool:
        """Publishes some events; returns whether there were any.

        1. Read unpublished events. 2. Send them and await Kafka's acknowledgement. 3. Mark them as published.
        """
        partitions = self._partitions()
        if not partitions:
            return False
        # 1. Read.
        waiting = await self._database.read(lambda connection: unpublished(connection, partitions))
        if not waiting:
            return False
        # 2. Send.
        await self._sender.send(self._topic, [_outgoing(completion) for completion in waiting])
        # 3. Mark.
        ids = [completion.id for completion in waiting]
        await self._database.write(lambda connection: mark_published(connection, ids))
        return True


def _outgoing(completion: Completion) -> Outgoing:
    value = completion.value
    return Outgoing(completion.upload_id.encode(), value, lambda: shortened(value), headers_of(completion))


async def published_completions(settings: Settings) -> list[Completion]:
    """All completion events that Kafka holds: a new database must not publish them a second time.

    Raises:
        LookupError: the topic does not exist.
    """
    async with started(make_consumer(settings)) as consumer:
        partitions = await partitions_of(consumer, topic_name(topics.UPLOAD_COMPLETIONS, settings))
        consumer.assign(partitions)
        found = [completion_in(record) async for record in read_to_end(consumer, partitions)]
    return [completion for completion in found if completion is not None]

"""Publishes rows in batches made by hand: one future per batch, not per row, so that a row costs microseconds."""

import asyncio
from collections.abc import Iterable

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import RecordMetadata

from schemas.rows import RowError
from services.ingest.feeder.preparation.row_file import PreparedRow
from services.ingest.feeder.upload_state import FeederUpload

KeyAndValue = tuple[bytes, bytes]


class BatchSender:
    """Collects records by partition and sends each full batch at once. `done` waits until Kafka has all of them.

    The producer numbers batches of this kind like any others, so its idempotence holds.
    """

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self._open: dict[tuple[str, int], BatchBuilder] = {}
        self._sent: list[asyncio.Future[RecordMetadata]] = []

    async def add(self, topic: str, partition: int, records: Iterable[KeyAndValue]) -> None:
        """Takes records for a partition, in order."""
        place = (topic, partition)
        for key, value in records:
            batch = self._open.get(place)
            if batch is None:
                batch = self._open[place] = self._producer.create_batch()
            if batch.append(key=key, value=value, timestamp=None) is None:
                await self._send(place, self._open.pop(place))
                batch = self._open[place] = self._producer.create_batch()
                batch.append(key=key, value=value, timestamp=None)

    async def done(self) -> None:
        """Sends what is left. Raises KafkaError when a batch was not taken."""
        while self._open:
            place, batch = self._open.popitem()
            await self._send(place, batch)
        sent, self._sent = self._sent, []
        outcomes = await asyncio.gather(*sent, return_exceptions=True)
        # A refusal for size comes first: others follow from it.
        errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        for error in sorted(errors, key=lambda error: not isinstance(error, MessageSizeTooLargeError)):
            raise error

    async def _send(self, place: tuple[str, int], batch: BatchBuilder) -> None:
        batch.close()
        topic, partition = place
        self._sent.append(await self._producer.send_batch(batch, topic, partition=partition))


def usable_value(row: PreparedRow, head: bytes) -> bytes:
    """The value of a row on `upload-rows`. `head` comes from `row_head`."""
    return b'%b"phone":"%b",%b' % (head, row.phone, row.body)


def rejected_value(row: PreparedRow, head: bytes) -> bytes:
    """The value of a row on `rejected-rows`. `head` comes from `rejected_head` or `left_out_head`."""
    return head + row.body


def row_head(upload: FeederUpload, *, default_max_age_seconds: int) -> bytes:
    """The fields that all usable rows of a started upload share, as the beginning of a JSON object."""
    started_at = upload.started_at
    assert started_at is not None
    common = {
        "upload_id": upload.upload_id,
        "round": 0,
        "owner": upload.opened.owner,
        "priority": upload.priority,
        "wanted_at": started_at,
        "accept_since": upload.accept_since(default_max_age_seconds=default_max_age_seconds),
    }
    return orjson.dumps(common, option=orjson.OPT_UTC_Z)[:-1] + b","


def rejected_head(upload: FeederUpload) -> bytes:
    """The beginning of a rejected row; its body holds the error."""
    return orjson.dumps({"upload_id": upload.upload_id})[:-1] + b","


def left_out_head(upload: FeederUpload, detail: str) -> bytes:
    """The beginning of a usable row that is not looked up: `detail` says why."""
    error = RowError(code="cancelled", detail=detail)
    return orjson.dumps({"upload_id": upload.upload_id, "error": error.model_dump()})[:-1] + b","

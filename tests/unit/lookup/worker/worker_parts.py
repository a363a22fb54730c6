"""The lookup worker without Kafka: its real table in a folder, and a port that takes what it would publish."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiokafka import ConsumerRecord
from aiokafka.errors import MessageSizeTooLargeError

from schemas import topics
from schemas.codec import decode, encode
from schemas.lookups import Answered, AttemptError, LookupRequest, LookupResult, Outcome, PhoneData
from schemas.rows import BadRecord, UploadRow
from schemas.settings import Settings
from schemas.topics import Topic
from services.lookup.worker.faust_app import build_app
from services.lookup.worker.look_up import LookUp
from services.lookup.worker.outputs import Outputs
from services.lookup.worker.phones_table import PhonesTable
from services.lookup.worker.publishing import Publisher, Record
from services.lookup.worker.read_progress import ReadProgress
from services.lookup.worker.remember import Remember
from tests.fixtures.ids import upload_id

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PARTITIONS = 4


def ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def a_row(
    phone: str, *, upload: str = "u1", round_: int = 0, again: bool = False, wanted_at: datetime = NOW, number: int = 1
) -> UploadRow:
    return UploadRow(
        upload_id=upload_id(upload),
        row=number,
        round=round_,
        phone=phone,
        cells=("Jane Example", phone),
        owner="local",
        wanted_at=wanted_at,
        accept_since=wanted_at - timedelta(days=30),
        again=again,
    )


def a_result(
    phone: str,
    *,
    outcome: Outcome = "ok",
    looked_up_at: datetime = NOW,
    answers: Sequence[tuple[str, int]] = (),
) -> LookupResult:
    failed = outcome == "failed"
    return LookupResult(
        phone=phone,
        outcome=outcome,
        data=PhoneData() if outcome == "ok" else None,
        provider="generic",
        looked_up_at=looked_up_at,
        attempts=1,
        error=AttemptError(error_class="wait", code="timeout", detail="", at=NOW) if failed else None,
        answers=tuple(Answered(upload_id=upload_id(upload), round=round_) for upload, round_ in answers),
    )


class Taken(Publisher):
    """Takes what is published in place of Kafka. `acknowledge` withholds every acknowledgement while it is not set."""

    def __init__(self, *, largest_bytes: int = 1_000_000) -> None:
        self.logs: dict[tuple[str, int], list[Record]] = {}
        self.acknowledge = asyncio.Event()
        self.acknowledge.set()
        self.largest_bytes = largest_bytes

    async def publish(self, topic: str, by_partition: Mapping[int, Sequence[Record]]) -> dict[int, int]:
        if any(len(value or b"") > self.largest_bytes for records in by_partition.values() for _, value in records):
            raise MessageSizeTooLargeError
        for partition, records in by_partition.items():
            self.logs.setdefault((topic, partition), []).extend(records)
        await self.acknowledge.wait()
        return {partition: len(self.logs[topic, partition]) - 1 for partition in by_partition}

    async def partitions_of(self, topic: str) -> int:
        return 1 if topic == topics.LOOKUP_REQUESTS.name else PARTITIONS

    def values(self, topic: Topic) -> Iterator[bytes]:
        for (name, _), records in self.logs.items():
            if name == topic.name:
                yield from (value for _, value in records if value is not None)

    def requests(self) -> list[LookupRequest]:
        return [decode(LookupRequest, value) for value in self.values(topics.LOOKUP_REQUESTS)]

    def bad(self) -> list[BadRecord]:
        return [decode(BadRecord, value) for value in self.values(topics.BAD_RECORDS)]


@dataclass(slots=True)
class WorkerParts:
    """Both agents on one table."""

    taken: Taken
    phones: PhonesTable
    progress: ReadProgress
    remember: Remember
    look_up: LookUp


def worker_parts(folder: Path, taken: Taken | None = None) -> WorkerParts:
    taken = taken or Taken()
    settings = Settings(kafka="127.0.0.1:1", partitions=PARTITIONS)
    app = build_app(settings, folder=folder)
    phones, outputs, progress = PhonesTable(app, taken, settings), Outputs(taken, settings), ReadProgress(app, settings)
    return WorkerParts(taken, phones, progress, Remember(phones, outputs, progress), LookUp(phones, outputs, progress))


def record(
    topic: Topic,
    value: bytes | None,
    *,
    partition: int = 0,
    offset: int = 0,
    key: bytes | None = None,
    timestamp_ms: int | None = None,
) -> ConsumerRecord:
    """A record as aiokafka hands it over."""
    return ConsumerRecord(
        topic=topic.name,
        partition=partition,
        offset=offset,
        timestamp=ms(NOW) if timestamp_ms is None else timestamp_ms,
        timestamp_type=0,
        key=key,
        value=value,
        checksum=None,
        serialized_key_size=len(key or b""),
        serialized_value_size=len(value or b""),
        headers=(),
    )


def row_record(row: UploadRow, *, partition: int, offset: int = 0, published_at: datetime = NOW) -> ConsumerRecord:
    return record(
        topics.UPLOAD_ROWS,
        encode(row),
        partition=partition,
        offset=offset,
        key=row.phone.encode(),
        timestamp_ms=ms(published_at),
    )


def result_record(
    result: LookupResult, *, partition: int, offset: int = 0, recorded_at: datetime = NOW
) -> ConsumerRecord:
    return record(
        topics.LOOKUP_RESULTS,
        encode(result),
        partition=partition,
        offset=offset,
        key=result.key.encode(),
        timestamp_ms=ms(recorded_at),
    )

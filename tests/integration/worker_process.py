"""Runs lookup workers as real processes, and sees from outside what they did."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from deploy.topics import create_topics
from schemas import topics
from schemas.codec import decode, encode
from schemas.lookups import Answered, AttemptError, LookupRequest, LookupResult, Outcome, PhoneData
from schemas.parts import PartStatus
from schemas.rows import UploadRow
from schemas.settings import Settings
from schemas.topics import Topic
from services.runtime.kafka import (
    admin_client,
    group_name,
    make_consumer,
    make_producer,
    partitions_of,
    read_to_end,
    started,
    topic_name,
)
from tests.fixtures.ids import upload_id
from tests.support.waiting import eventually

CHECKOUT = Path(__file__).parents[2]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
UPLOAD = "01900000-0000-7000-8000-000000000001"
ANOTHER = upload_id("another")
A_THIRD = upload_id("a third")
PARTITIONS = 4


def phone(number: int) -> str:
    """One of ten thousand numbers that nobody has."""
    return f"+1{200 + number // 100:03d}5550{100 + number % 100}"


def a_row(number: int, of: str, *, upload_id: str = UPLOAD, again: bool = False, round_: int = 0) -> UploadRow:
    return UploadRow(
        upload_id=upload_id,
        row=number,
        round=round_,
        phone=of,
        cells=("Jane Example", of),
        owner="local",
        wanted_at=NOW,
        accept_since=NOW - timedelta(days=30),
        again=again,
    )


def a_result(
    of: str, *, outcome: Outcome = "ok", looked_up_at: datetime = NOW, names: tuple[str, int] = (A_THIRD, 0)
) -> LookupResult:
    failed = outcome == "failed"
    return LookupResult(
        phone=of,
        outcome=outcome,
        data=None if failed else PhoneData(line_type="mobile"),
        provider="generic",
        looked_up_at=looked_up_at,
        attempts=1,
        error=AttemptError(error_class="wait", code="timeout", detail="no reply", at=NOW) if failed else None,
        answers=(Answered(upload_id=names[0], round=names[1]),),
    )


@dataclass(slots=True)
class Cluster:
    """The topics of one test, as producers, the gate and operators use them."""

    settings: Settings
    producer: AIOKafkaProducer
    consumer: AIOKafkaConsumer
    admin: AIOKafkaAdminClient

    async def add_rows(self, rows: Iterable[UploadRow]) -> None:
        await self._send(topics.UPLOAD_ROWS, [(row.phone.encode(), encode(row)) for row in rows])

    async def add_results(self, results: Iterable[LookupResult]) -> None:
        await self._send(topics.LOOKUP_RESULTS, [(result.phone.encode(), encode(result)) for result in results])

    async def erase(self, of: str) -> None:
        await self._send(topics.LOOKUP_RESULTS, [(of.encode(), None)])

    async def put(self, topic: Topic, partition: int, value: bytes, key: bytes | None = None) -> int:
        """Writes one record to a partition of the test's choice; returns its offset."""
        name = topic_name(topic, self.settings)
        return int((await self.producer.send_and_wait(name, value, key=key, partition=partition)).offset)

    async def _send(self, topic: Topic, records: Iterable[tuple[bytes, bytes | None]]) -> None:
        name = topic_name(topic, self.settings)
        for acknowledgement in [await self.producer.send(name, value, key=key) for key, value in records]:
            await acknowledgement

    async def records(self, topic: Topic) -> list[ConsumerRecord]:
        """Everything on a topic up to its present end."""
        async with started(make_consumer(self.settings)) as reader:
            partitions = await partitions_of(reader, topic_name(topic, self.settings))
            reader.assign(partitions)
            await reader.seek_to_beginning(*partitions)
            return [record async for record in read_to_end(reader, partitions)]

    async def requests(self) -> list[LookupRequest]:
        return [decode(LookupRequest, record.value) for record in await self.records(topics.LOOKUP_REQUESTS)]

    async def is_all_read(self) -> bool:
        """Whether the workers have committed everything on `upload-rows` and `lookup-results`."""
        try:
            committed = await self.admin.list_consumer_group_offsets(group_name("lookup", self.settings))
        except GroupCoordinatorNotAvailableError:
            # A new broker has no coordinator before its first group: nothing can have been committed.
            return False
        partitions = [
            partition
            for topic in (topics.UPLOAD_ROWS, topics.LOOKUP_RESULTS)
            for partition in await partitions_of(self.consumer, topic_name(topic, self.settings))
        ]
        ends = await self.consumer.end_offsets(partitions)
        return all(end == 0 or (tp in committed and committed[tp].offset == end) for tp, end in ends.items())

    async def end(self, topic: Topic) -> int:
        partitions = await partitions_of(self.consumer, topic_name(topic, self.settings))
        return sum((await self.consumer.end_offsets(partitions)).values())

    async def lose_offsets(self) -> None:
        """Puts the workers' group back to the beginning of both topics. No worker may run."""
        async with started(make_consumer(self.settings, group="lookup")) as member:
            partitions = [
                partition
                for topic in (topics.UPLOAD_ROWS, topics.LOOKUP_RESULTS)
                for partition in await partitions_of(member, topic_name(topic, self.settings))
            ]
            member.assign(partitions)
            await member.commit(dict.fromkeys(partitions, 0))

    async def make_again(self, topic: Topic) -> None:
        """Deletes a topic and everything on it, and makes it anew."""
        name = topic_name(topic, self.settings)
        await self.admin.delete_topics([name])

        async def is_gone() -> bool:
            return name not in await self.admin.list_topics()

        await eventually(is_gone, what=f"topic {topic.name} to be gone")
        await create_topics(self.settings)

    async def partition_of(self, of: str) -> int:
        """The partition where a phone's records lie, found by writing one."""
        name = topic_name(topics.UPLOAD_FILES, self.settings)
        return int((await self.producer.send_and_wait(name, b"", key=of.encode())).partition)

    async def workers(self) -> dict[str, PartStatus]:
        """The last sign of life of each worker."""
        signs = [decode(PartStatus, record.value) for record in await self.records(topics.PART_STATUS)]
        return {sign.instance: sign for sign in signs if sign.role == "worker"}


@asynccontextmanager
async def on_cluster(settings: Settings) -> AsyncIterator[Cluster]:
    async with (
        admin_client(settings) as admin,
        started(make_producer(settings)) as producer,
        started(make_consumer(settings)) as consumer,
    ):
        yield Cluster(settings, producer, consumer, admin)


@dataclass(slots=True)
class WorkerProcess:
    """One worker; can be killed and started again on the same folder."""

    settings: Settings
    folder: Path
    instance: str = "1"
    command: tuple[str, ...] = ("services.lookup", "worker")
    process: "subprocess.Popen[bytes] | None" = field(default=None)

    def start(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SCRUB_")}
        environment |= {
            "SCRUB_KAFKA": self.settings.kafka,
            "SCRUB_TOPIC_PREFIX": self.settings.topic_prefix,
            "SCRUB_PARTITIONS": str(self.settings.partitions),
            "SCRUB_DATA": str(self.folder),
            "SCRUB_INSTANCE": self.instance,
        }
        self.folder.mkdir(exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self.command],
                cwd=CHECKOUT,
                env=environment,
                stdout=log,
                stderr=log,
            )

    @property
    def log(self) -> Path:
        return self.folder / f"worker-{self.instance}.log"

    def kill(self) -> None:
        """SIGKILL, as when a machine goes away."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM, as from a supervisor; returns the exit code. Waits no longer than one would there."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(timeout=10)

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()


StartWorker = Callable[..., WorkerProcess]


async def all_read(cluster: Cluster) -> None:
    await eventually(cluster.is_all_read, what="the workers to read everything")

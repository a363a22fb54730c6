"""Runs gates and the simulated API as real processes on a real broker, and sees from outside what they did."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiokafka import AIOKafkaProducer, ConsumerRecord

from deploy.local.broker import free_port
from schemas import topics
from schemas.base import Message
from schemas.codec import decode, encode
from schemas.lookups import LookupRequest, LookupResult, LookupStatus
from schemas.settings import Settings
from schemas.topics import Topic
from schemas.upload_events import UploadOpened
from schemas.uploads import UploadOptions
from services.runtime.kafka import make_consumer, make_producer, partitions_of, read_to_end, started, topic_name
from tests.fixtures.ids import upload_id
from tests.support.waiting import eventually

CHECKOUT = Path(__file__).parents[2]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def phone(number: int) -> str:
    """One of ten thousand numbers that nobody has; none that the simulator treats specially."""
    return f"+1{200 + number // 100:03d}5550{100 + number % 100}"


def request(of: str, upload: str = "u1", *, owner: str = "owner-1", round_: int = 0) -> LookupRequest:
    return LookupRequest(
        phone=of,
        upload_id=upload_id(upload),
        round=round_,
        owner=owner,
        priority=3,
        wanted_at=NOW,
        accept_since=NOW - timedelta(days=30),
    )


@dataclass(frozen=True, slots=True)
class Arrival:
    """A call as the API saw it."""

    t_ns: int
    phone: str
    status: int


@dataclass(slots=True)
class Simulator:
    """The API, with its log."""

    log: Path
    arguments: tuple[str, ...]
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None

    async def start(self) -> None:
        self.process = self._spawn()
        await eventually(self._is_listening, what="the simulated API to listen")

    def _spawn(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "deploy.local.simulator", "--port", str(self.port), "--log", str(self.log)]
        return subprocess.Popen([*command, *self.arguments], cwd=CHECKOUT, stdout=subprocess.DEVNULL)

    async def _is_listening(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True

    def arrivals(self) -> list[Arrival]:
        if not self.log.exists():
            return []
        lines = self.log.read_text(encoding="utf-8").splitlines()
        return sorted((Arrival(**json.loads(line)) for line in lines), key=lambda each: each.t_ns)

    def most_in_any_second(self) -> int:
        times = [each.t_ns for each in self.arrivals()]
        return max((sum(1 for at in times if start <= at < start + 1_000_000_000) for start in times), default=0)


@dataclass(slots=True)
class GateProcess:
    """One candidate."""

    process: "subprocess.Popen[bytes]"
    instance: str

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, as when a machine goes away."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM, as from a supervisor; returns the exit code."""
        self.process.terminate()
        return self.process.wait(timeout=20)


@dataclass(slots=True)
class GateStand:
    """One test's topics, API and gates."""

    settings: Settings
    producer: AIOKafkaProducer
    api: Simulator
    folder: Path
    gates: list[GateProcess] = field(default_factory=list)
    opened: set[str] = field(default_factory=set)

    def start_gate(self, **settings: object) -> GateProcess:
        """Starts one more candidate; `settings` are `SCRUB_*` without the prefix, in lower case."""
        instance = str(len(self.gates) + 1)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SCRUB_")}
        chosen = {
            "kafka": self.settings.kafka,
            "topic_prefix": self.settings.topic_prefix,
            "partitions": self.settings.partitions,
            "lookup_url": f"http://127.0.0.1:{self.api.port}/lookup",
            "instance": instance,
        } | settings
        environment |= {f"SCRUB_{name.upper()}": str(value) for name, value in chosen.items()}
        with (self.folder / f"gate-{instance}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "services.lookup", "gate"], cwd=CHECKOUT, env=environment, stdout=log, stderr=log
            )
        gate = GateProcess(process, instance)
        self.gates.append(gate)
        return gate

    async def want(self, phones: Iterable[str], upload: str = "u1", *, owner: str = "owner-1") -> None:
        """Requests of an upload, which is opened with the first."""
        if upload not in self.opened:
            await self.open(upload)
        messages = [request(of, upload, owner=owner) for of in phones]
        await self.send(topics.LOOKUP_REQUESTS, [(message.key, message) for message in messages])

    async def open(self, upload: str, *, max_calls: int | None = None) -> None:
        self.opened.add(upload)
        options = UploadOptions(max_calls=max_calls)
        message = UploadOpened(upload_id=upload_id(upload), at=NOW, name="a.csv", owner="owner-1", options=options)
        await self.send(topics.UPLOAD_EVENTS, [(message.upload_id, message)])

    async def send(self, topic: Topic, records: Iterable[tuple[str, Message]]) -> None:
        name = topic_name(topic, self.settings)
        sent = [await self.producer.send(name, encode(message), key=key.encode()) for key, message in records]
        for acknowledgement in sent:
            await acknowledgement

    async def records(self, topic: Topic) -> list[ConsumerRecord]:
        """Everything on a topic up to its present end."""
        async with started(make_consumer(self.settings)) as reader:
            partitions = await partitions_of(reader, topic_name(topic, self.settings))
            reader.assign(partitions)
            await reader.seek_to_beginning(*partitions)
            return [record async for record in read_to_end(reader, partitions)]

    async def results(self) -> list[LookupResult]:
        return [decode(LookupResult, record.value) for record in await self.records(topics.LOOKUP_RESULTS)]

    async def status(self) -> LookupStatus | None:
        """The last that the active gate said."""
        records = await self.records(topics.LOOKUP_STATUS)
        return decode(LookupStatus, records[-1].value) if records else None

    async def live_keys(self, topic: Topic) -> set[str]:
        """Keys whose newest record is no tombstone: what compaction will leave."""
        newest = {record.key.decode(): record.value for record in await self.records(topic)}
        return {key for key, value in newest.items() if value is not None}

    async def wait_for_results(self, count: int) -> None:
        async def all_there() -> bool:
            return len(await self.results()) >= count

        await eventually(all_there, what=f"{count} results")

    async def wait_for_calls(self, count: int) -> None:
        async def enough() -> bool:
            return len(self.api.arrivals()) >= count

        await eventually(enough, what=f"{count} calls")

    async def wait_for_no_requests(self) -> None:
        async def all_buried() -> bool:
            return not await self.live_keys(topics.LOOKUP_REQUESTS)

        await eventually(all_buried, what="tombstones of all requests")

    async def wait_for_state(self, state: str) -> LookupStatus:
        """The first status that tells this state."""
        found: list[LookupStatus] = []

        async def told() -> bool:
            status = await self.status()
            found.extend([status] if status is not None and status.state == state else [])
            return bool(found)

        await eventually(told, what=f"the gate to say {state}")
        return found[0]


@asynccontextmanager
async def on_stand(broker: str, prefix: str, folder: Path, *simulator: str) -> AsyncIterator[GateStand]:
    """A stand whose processes end with the block."""
    settings = Settings(kafka=broker, topic_prefix=prefix, partitions=4)
    api = Simulator(folder / "calls.jsonl", simulator)
    async with started(make_producer(settings)) as producer:
        stand = GateStand(settings, producer, api, folder)
        try:
            await api.start()
            yield stand
        finally:
            for process in [gate.process for gate in stand.gates] + ([api.process] if api.process else []):
                process.kill()
                process.wait()

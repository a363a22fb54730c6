"""A running join and status application on a real broker, and a producer that plays all the other parts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from aiokafka import AIOKafkaProducer

from deploy.local import web
from deploy.local.broker import free_port
from deploy.topics import create_topics
from schemas import topics
from schemas.base import Message
from schemas.codec import encode
from schemas.ids import new_upload_id
from schemas.lookups import Answered, AttemptError, LookupResult, LookupStatus, PaidCalls, PhoneData
from schemas.parts import PartStatus, Role
from schemas.rows import RejectedRow, RowError, UploadRow
from schemas.settings import Settings
from schemas.topics import Topic
from schemas.upload_events import UploadEventBase, UploadFed, UploadOpened
from schemas.uploads import Operation, UploadOptions
from services.assembler.join import role as join
from services.assembler.status import role as status
from services.runtime.kafka import make_producer, started, topic_name
from services.runtime.partitions import partition_of
from tests.support.waiting import eventually

WAIT_SECONDS = 30.0
PARTITIONS = 4
MOST_ROWS = 100


def phone(number: int) -> str:
    """A fictional number: NPA 555-01xx."""
    return f"+1{200 + number // 100 % 700:03d}55501{number % 100:02d}"


@dataclass
class World:
    """What a test drives. `url` is the status application's."""

    settings: Settings
    producer: AIOKafkaProducer
    client: httpx.AsyncClient
    url: str
    opened: list[str] = field(default_factory=list)

    def phone(self, upload_id: str, number: int) -> str:
        """The phone of a row: fictional (NPA 555-01xx), and no other upload of this world has it."""
        return phone(self.opened.index(upload_id) * MOST_ROWS + number)

    async def send(self, topic: Topic, key: str, message: Message | None) -> None:
        value = None if message is None else encode(message)
        await self.producer.send_and_wait(topic_name(topic, self.settings), value, key=key.encode())

    async def event(self, event: UploadEventBase) -> None:
        await self.send(topics.UPLOAD_EVENTS, event.upload_id, event)

    async def open(
        self,
        *,
        owner: str = "local",
        name: str = "contacts.csv",
        operation: Operation = "kafka",
        options: UploadOptions | None = None,
        upload_id: str | None = None,
    ) -> str:
        """Opens an upload whose rows the test sends; returns its id."""
        now = datetime.now(UTC)
        upload_id = upload_id or new_upload_id(now_ms=int(now.timestamp() * 1000))
        self.opened.append(upload_id)
        await self.event(
            UploadOpened(
                upload_id=upload_id,
                at=now,
                by=owner,
                name=name,
                owner=owner,
                operation=operation,
                options=options or UploadOptions(),
                columns=("Name", "Phone"),
            )
        )
        return upload_id

    async def rows(self, upload_id: str, numbers: range, *, owner: str = "local", round_: int = 0) -> None:
        now = datetime.now(UTC)
        for number in numbers:
            row = UploadRow(
                upload_id=upload_id,
                row=number,
                line=number + 1,
                round=round_,
                phone=self.phone(upload_id, number),
                cells=(f"Name {number}", self.phone(upload_id, number)[2:]),
                owner=owner,
                wanted_at=now,
                accept_since=now - timedelta(days=30),
            )
            await self.send(topics.UPLOAD_ROWS, row.phone, row)

    async def reject(self, upload_id: str, number: int) -> None:
        error = RowError(code="not_a_phone", column="Phone", value="n/a", detail="no phone in it")
        row = RejectedRow(upload_id=upload_id, row=number, line=number + 1, cells=("Nobody", "n/a"), error=error)
        await self.send(topics.REJECTED_ROWS, upload_id, row)

    async def fed(self, upload_id: str, rows: int, *, rejected: int = 0) -> None:
        await self.event(UploadFed(upload_id=upload_id, at=datetime.now(UTC), rows=rows, rejected=rejected))

    async def answer(self, upload_id: str, numbers: range, *, failed: bool = False, round_: int = 0) -> None:
        now = datetime.now(UTC)
        problem = AttemptError(error_class="wait", code="timeout", detail="no reply within 10 s", at=now)
        for number in numbers:
            result = LookupResult(
                phone=self.phone(upload_id, number),
                outcome="failed" if failed else "ok",
                data=None if failed else PhoneData(line_type="mobile", reachable="yes", do_not_call="no"),
                provider="test",
                looked_up_at=now,
                attempts=6 if failed else 1,
                error=problem if failed else None,
                answers=(Answered(upload_id=upload_id, round=round_),),
                calls=(PaidCalls(upload_id=upload_id, calls=6 if failed else 1),),
            )
            # A failure has a key of its own, but belongs on its phone's partition.
            await self.producer.send_and_wait(
                topic_name(topics.LOOKUP_RESULTS, self.settings),
                encode(result),
                key=result.key.encode(),
                partition=partition_of(result.phone.encode(), PARTITIONS),
            )

    async def parts(self, *roles: Role) -> None:
        """Signs of life of parts that this world does not run."""
        now = datetime.now(UTC)
        for role in roles:
            part = PartStatus(role=role, instance="1", pid=1, state="running", active=True, started_at=now, seen_at=now)
            await self.send(topics.PART_STATUS, part.key, part)

    async def gate_says(self, lookup: LookupStatus) -> None:
        await self.send(topics.LOOKUP_STATUS, "0", lookup)

    async def upload(self, upload_id: str, **headers: str) -> dict[str, Any]:
        answer = await self.client.get(f"/v1/uploads/{upload_id}", headers=headers)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def until_state(self, upload_id: str, state: str) -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            found = await self.upload(upload_id)
            return found if found["state"] == state else None

        found: dict[str, Any] = await eventually(look, what=f"state {state}")
        return found


@asynccontextmanager
async def running_world(
    broker: str,
    folder: Path,
    *,
    with_join: bool = True,
    with_ingest: bool = False,
    tokens: dict[str, str] | None = None,
    admin: str = "",
) -> AsyncIterator[World]:
    """Join and status on a fresh set of topics, until the end of the block. `admin`: an admin's token.

    `with_ingest`: the application that takes files in is there too, on the same port.
    """
    settings = Settings(
        kafka=broker,
        topic_prefix=f"t{uuid4().hex[:12]}-",
        partitions=PARTITIONS,
        data=folder,
        port=free_port(),
        tokens=tokens or {},
        admin_tokens=(admin,) if admin else (),
    )
    await create_topics(settings)
    url = f"http://127.0.0.1:{settings.port}"
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        serve = web.main if with_ingest else status.main
        roles = (join.main, serve) if with_join else (serve,)
        tasks = [asyncio.create_task(main(settings, stop)) for main in roles]
        stack.push_async_callback(_end, tasks, stop)
        producer = await stack.enter_async_context(started(make_producer(settings)))
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=30, trust_env=False))

        async def answers() -> bool:
            for task in tasks:
                if task.done():
                    task.result()
            with suppress(httpx.TransportError):
                return (await client.get("/health/ready")).status_code == 200
            return False

        await eventually(answers, what="status to be ready")
        yield World(settings, producer, client, url)


async def _end(tasks: list["asyncio.Task[None]"], stop: asyncio.Event) -> None:
    stop.set()
    async with asyncio.timeout(WAIT_SECONDS):
        await asyncio.gather(*tasks)

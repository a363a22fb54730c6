"""The stage for tests of the join on a real broker: the other services' records by hand, and joins that run or die."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiokafka import AIOKafkaProducer, ConsumerRecord
from sqlalchemy import select

from schemas import topics
from schemas.base import Message
from schemas.codec import encode
from schemas.ids import new_upload_id
from schemas.lookups import Answered, LookupResult, Outcome, PaidCalls, PhoneData
from schemas.rows import RejectedRow, RowError, UploadRow
from schemas.settings import Settings
from schemas.topics import Topic
from schemas.upload_events import UploadFed, UploadOpened
from services.assembler.domain.row_state import State
from services.assembler.domain.stored import StoredUpload
from services.assembler.join import role as join
from services.assembler.store.dialect import connect
from services.assembler.store.meta import prepare
from services.assembler.store.reads import upload as read_upload
from services.assembler.store.tables import rows, uploads
from services.runtime.kafka import make_consumer, make_producer, partitions_of, read_to_end, started, topic_name
from tests.support.waiting import eventually


def phone(number: int) -> str:
    """A fictional number: +1 area 555 01xx, a hundred to an area."""
    return f"+1{201 + number // 100}55501{number % 100:02d}"


class Stage:
    """Writes what http, feeder, worker and gate would write, and looks at what the join makes of it."""

    def __init__(self, settings: Settings, producer: AIOKafkaProducer) -> None:
        self.settings = settings
        self.producer = producer
        self.started_at = datetime.now(UTC)

    async def write(self, topic: Topic, key: str, value: Message | bytes | None) -> None:
        body = value if value is None or isinstance(value, bytes) else encode(value)
        await self.producer.send_and_wait(topic_name(topic, self.settings), body, key=key.encode())

    async def event(self, event: Message) -> None:
        # Every upload event has an id.
        await self.write(topics.UPLOAD_EVENTS, event.upload_id, event)  # type: ignore[attr-defined]

    async def open(self, **fields: object) -> str:
        upload_id = new_upload_id(now_ms=int(datetime.now(UTC).timestamp() * 1000))
        opened = {"upload_id": upload_id, "at": datetime.now(UTC), "by": "jane", "name": "a.csv", "owner": "jane"}
        await self.event(UploadOpened.model_validate(opened | {"operation": "kafka"} | fields))
        return upload_id

    async def rows(
        self, upload_id: str, phones: dict[int, str], *, round_: int = 0, cells: tuple[str, ...] = ()
    ) -> None:
        """Publishes rows by number without waiting for each."""
        sent = []
        for number, of_row in phones.items():
            row = UploadRow(
                upload_id=upload_id,
                row=number,
                line=number,
                round=round_,
                phone=of_row,
                cells=cells or (f"person {number}", of_row),
                owner="jane",
                wanted_at=self.started_at,
                accept_since=self.started_at - timedelta(days=30),
            )
            topic = topic_name(topics.UPLOAD_ROWS, self.settings)
            sent.append(await self.producer.send(topic, encode(row), key=of_row.encode()))
        await asyncio.gather(*sent)

    async def rejected(self, upload_id: str, number: int) -> None:
        row = RejectedRow(upload_id=upload_id, row=number, cells=("nobody", ""), error=RowError(code="no_phone"))
        await self.write(topics.REJECTED_ROWS, upload_id, row)

    async def fed(self, upload_id: str, count: int) -> None:
        await self.event(UploadFed(upload_id=upload_id, at=datetime.now(UTC), rows=count, rejected=0))

    async def result(self, of_phone: str, *names: tuple[str, int], outcome: Outcome = "ok", calls: int = 1) -> None:
        await self.results([of_phone], *names, outcome=outcome, calls=calls)

    async def results(
        self, phones: Iterable[str], *names: tuple[str, int], outcome: Outcome = "ok", calls: int = 1
    ) -> None:
        """Publishes one result for each phone, without waiting for each."""
        results = [self._result(of_phone, *names, outcome=outcome, calls=calls) for of_phone in phones]
        topic = topic_name(topics.LOOKUP_RESULTS, self.settings)
        sent = [await self.producer.send(topic, encode(result), key=result.phone.encode()) for result in results]
        await asyncio.gather(*sent)

    def _result(self, of_phone: str, *names: tuple[str, int], outcome: Outcome, calls: int) -> LookupResult:
        return LookupResult(
            phone=of_phone,
            outcome=outcome,
            data=PhoneData(line_type="mobile", reachable="yes", do_not_call="no") if outcome == "ok" else None,
            provider="simulator",
            looked_up_at=datetime.now(UTC),
            attempts=calls,
            answers=tuple(Answered(upload_id=upload_id, round=round_) for upload_id, round_ in names),
            calls=tuple(PaidCalls(upload_id=upload_id, calls=calls) for upload_id, _ in names[:1]),
        )

    async def read(self, topic: Topic) -> list[ConsumerRecord]:
        """Everything on a topic."""
        async with started(make_consumer(self.settings)) as consumer:
            partitions = await partitions_of(consumer, topic_name(topic, self.settings))
            consumer.assign(partitions)
            return [record async for record in read_to_end(consumer, partitions)]

    async def completions(self, upload_id: str) -> list[ConsumerRecord]:
        return [record for record in await self.read(topics.UPLOAD_COMPLETIONS) if record.key == upload_id.encode()]

    def upload(self, upload_id: str) -> StoredUpload | None:
        engine = connect(self.settings.database_url)
        try:
            prepare(engine)
            with engine.connect() as connection:
                return read_upload(connection, upload_id)
        finally:
            engine.dispose()

    def drop_database(self) -> None:
        """Deletes the SQLite files."""
        for file in self.settings.data.glob("scrub.sqlite*"):
            file.unlink()

    def stored_rows(self, upload_id: str) -> dict[int, tuple[str, str | None, str]]:
        """State, phone and cells by row number."""
        engine = connect(self.settings.database_url)
        query = (
            select(rows.c.row, rows.c.state, rows.c.phone, rows.c.cells)
            .join(uploads, uploads.c.no == rows.c.upload_no)
            .where(uploads.c.id == upload_id)
        )
        with engine.connect() as connection:
            found = {row: (State(state).name, *rest) for row, state, *rest in connection.execute(query)}
        engine.dispose()
        return found

    async def until_state(self, upload_id: str, state: str) -> StoredUpload:
        found: list[StoredUpload | None] = [None]

        def reached() -> bool:
            found[:] = [self.upload(upload_id)]
            return found[0] is not None and found[0].state == state

        await eventually(reached, what=lambda: f"the upload to be {state}; it is {found[0]}")
        assert found[0] is not None
        return found[0]

    async def until_completed(self, upload_id: str, count: int = 1) -> list[ConsumerRecord]:
        found: list[ConsumerRecord] = []

        async def reached() -> bool:
            found[:] = await self.completions(upload_id)
            return len(found) >= count

        await eventually(reached, what=f"{count} completion events")
        return found


@asynccontextmanager
async def on_stage(broker: str, prefix: str, data: Path, **more: object) -> AsyncIterator[Stage]:
    values = {"kafka": broker, "topic_prefix": prefix, "data": data, "partitions": 4, **more}
    settings = Settings.model_validate(values)
    async with started(make_producer(settings)) as producer:
        yield Stage(settings, producer)


@asynccontextmanager
async def running_join(settings: Settings) -> AsyncIterator[None]:
    """A join in this process, until the end of the block; what ends it early ends the test."""
    stop = asyncio.Event()
    task = asyncio.create_task(join.main(settings, stop))
    try:
        yield
    finally:
        stop.set()
        await task


class JoinProcess:
    """A join as a process of its own, to be killed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> "JoinProcess":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    async def start(self) -> None:
        given = {
            "SCRUB_KAFKA": self._settings.kafka,
            "SCRUB_TOPIC_PREFIX": self._settings.topic_prefix,
            "SCRUB_DATA": str(self._settings.data),
            "SCRUB_DATABASE": self._settings.database,
        }
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.assembler", "join", env=os.environ | given
        )

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
            await self._process.wait()

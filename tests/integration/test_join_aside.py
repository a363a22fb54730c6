"""The join on a real broker when a record, a broker's limit or the database is against it: the rest goes on."""

import asyncio
import json
import random
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError
from sqlalchemy import make_url

from schemas import topics as registry
from schemas.codec import MAX_VALUE_BYTES, decode
from schemas.interface import Upload
from schemas.rows import BadRecord, UploadRow
from schemas.topics import Topic
from schemas.upload_events import RetryFailed
from services.assembler.join import database as database_module
from services.assembler.join import role as join
from services.assembler.join.completions import CompletionPublisher
from services.assembler.join.database import Database, DatabaseSilent
from services.assembler.join.sending import ShorteningSender
from services.assembler.store import dialect
from services.assembler.store.dialect import connect
from services.assembler.store.meta import prepare
from services.assembler.store.outbox import unpublished
from services.runtime.kafka import admin_client, topic_name
from tests.fixtures.postgres import DATABASES, fresh_schema
from tests.integration.join_stage import Stage, on_stage, phone, running_join
from tests.support.waiting import eventually
from tests.unit.assembler.join.join_log import forbid_row

pytestmark = pytest.mark.hostile


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    file = nullcontext(f"sqlite:///{tmp_path / 'scrub.sqlite'}")
    with fresh_schema() if request.param == "postgresql" else file as url:
        engine = connect(url)
        prepare(engine)
        engine.dispose()
        yield url


async def put_aside(stage: Stage) -> list[BadRecord]:
    return [decode(BadRecord, record.value) for record in await stage.read(registry.BAD_RECORDS)]


async def test_the_records_that_end_a_transaction_are_put_aside_and_all_others_joined(
    broker: str, topics: str, tmp_path: Path, database: str
) -> None:
    engine = connect(database)
    forbid_row(engine, 13)
    engine.dispose()
    async with on_stage(broker, topics, tmp_path, database=database) as stage:
        first, second = await stage.open(), await stage.open()
        phones = {number: phone(number) for number in range(1, 41)}
        for upload_id in (first, second):
            await stage.rows(upload_id, phones)
            await stage.fed(upload_id, 39)
        await stage.results(phones.values(), (first, 0), (second, 0))
        async with running_join(stage.settings):
            for upload_id in (first, second):
                (event,) = await stage.until_completed(upload_id)
                counts = decode(Upload, event.value).counts
                assert (counts.rows, counts.answered) == (39, 39)
                assert set(stage.stored_rows(upload_id)) == set(phones) - {13}
        bad = await put_aside(stage)
        assert [(each.reason, each.error, each.role) for each in bad] == [("failed", "IntegrityError", "join")] * 2
        assert {decode(UploadRow, each.value).row for each in bad} == {13}
        # What was put aside is read no more.
        async with running_join(stage.settings):
            await stage.fed(third := await stage.open(), 0)
            await stage.until_completed(third)
        assert len(await put_aside(stage)) == 2


async def test_a_record_larger_than_any_of_ours_is_put_aside_in_short(broker: str, topics: str, tmp_path: Path) -> None:
    async with on_stage(broker, topics, tmp_path) as stage, running_join(stage.settings):
        await stage.write(registry.UPLOAD_ROWS, phone(1), random.Random(1).randbytes(MAX_VALUE_BYTES + 1))
        upload_id = await stage.open()
        await stage.fed(upload_id, 0)
        await stage.until_completed(upload_id)

        async def is_there() -> bool:
            return len(await put_aside(stage)) == 1

        await eventually(is_there, what="one record to be put aside")
        (bad,) = await put_aside(stage)
        assert (bad.reason, bad.bytes_, len(bad.value or b"")) == ("undecodable", MAX_VALUE_BYTES + 1, 16 * 1024)


async def limit_records(stage: Stage, topic: Topic, most_bytes: int) -> None:
    """Makes the broker refuse larger batches of a topic."""
    name = topic_name(topic, stage.settings)
    configs = {"max.message.bytes": str(most_bytes)}
    async with admin_client(stage.settings) as admin:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs=configs)])


async def test_what_a_broker_refuses_for_its_size_goes_out_shorter(broker: str, topics: str, tmp_path: Path) -> None:
    columns = tuple(f"{number} {random.Random(number).randbytes(100).hex()}" for number in range(500))
    async with on_stage(broker, topics, tmp_path) as stage, running_join(stage.settings):
        upload_id = await stage.open(columns=columns)
        await stage.rows(upload_id, {1: phone(1), 2: phone(2)}, cells=columns)
        await stage.results([phone(1), phone(2)], (upload_id, 0), outcome="failed")
        await limit_records(stage, registry.UPLOAD_COMPLETIONS, 5_000)
        await stage.fed(upload_id, 2)
        (event,) = await stage.until_completed(upload_id)
        assert decode(Upload, event.value).detected is None
        await limit_records(stage, registry.UPLOAD_ROWS, 1_000)
        await stage.event(RetryFailed(upload_id=upload_id, at=datetime.now(UTC), by="jane", round=1))

        async def asked_again() -> bool:
            rows = [decode(UploadRow, record.value) for record in await stage.read(registry.UPLOAD_ROWS)]
            return sorted((row.row, row.cells) for row in rows if row.again) == [(1, ()), (2, ())]

        await eventually(asked_again, what="both rows to be published again, without their cells")
        await stage.results([phone(1), phone(2)], (upload_id, 1))
        await stage.until_completed(upload_id, 2)
        assert {cells for *_, cells in stage.stored_rows(upload_id).values()} == {
            json.dumps(columns, separators=(",", ":"))
        }


async def test_a_completion_that_was_not_sent_is_not_marked_as_published(
    broker: str, topics: str, tmp_path: Path
) -> None:
    async with on_stage(broker, topics, tmp_path) as stage:
        async with running_join(stage.settings):
            upload_id = await stage.open()
            await stage.fed(upload_id, 0)
            await stage.until_completed(upload_id)
        database = Database(connect(stage.settings.database_url))
        with database.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE outbox SET published = 0")
        elsewhere = stage.settings.model_copy(update={"topic_prefix": "no-such-"})
        async with ShorteningSender(elsewhere) as sender:
            publisher = CompletionPublisher(database, sender, elsewhere, partitions=lambda: range(4))
            with pytest.raises((KafkaError, TimeoutError)):
                async with asyncio.timeout(2):
                    await publisher.publish_some()
        assert len(await database.read(lambda connection: unpublished(connection, range(4)))) == 1
        database.close()


async def test_a_database_that_others_keep_busy_is_waited_for_by_all_loops(
    broker: str, topics: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dialect, "_PRAGMAS", (*dialect._PRAGMAS, "PRAGMA busy_timeout=50"))
    async with on_stage(broker, topics, tmp_path) as stage, running_join(stage.settings):
        upload_id = await stage.open()
        await stage.until_state(upload_id, "in_progress")
        other = sqlite3.connect(tmp_path / "scrub.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        await stage.fed(upload_id, 0)

        async def failed() -> bool:
            return "the database failed: OperationalError; trying again" in caplog.text

        await eventually(failed, what="the join to meet the busy database")
        other.execute("ROLLBACK")
        other.close()
        await stage.until_completed(upload_id)


@asynccontextmanager
async def proxy_to(url: str) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """A server between us and PostgreSQL: its URL, and an event after which nothing passes any more."""
    target, frozen, tasks = make_url(url), asyncio.Event(), set[asyncio.Task[None]]()
    writers: list[asyncio.StreamWriter] = []

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not frozen.is_set() and (data := await reader.read(65536)):
            if not frozen.is_set():
                writer.write(data)
        if not frozen.is_set():
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(target.host, target.port)
        writers.extend((writer, inner_writer))
        tasks.update(
            (
                asyncio.create_task(pass_on(reader, inner_writer)),
                asyncio.create_task(pass_on(inner_reader, writer)),
            )
        )

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        yield target.set(host="127.0.0.1", port=port).render_as_string(hide_password=False), frozen
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.postgres
async def test_a_database_that_never_answers_ends_the_join_loudly(
    broker: str, topics: str, tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connections stay open, so no time limit of the network strikes."""
    monkeypatch.setattr(database_module, "SILENT_SECONDS", 2.0)
    monkeypatch.setattr(database_module, "CLOSE_SECONDS", 0.5)
    async with (
        proxy_to(postgres_url) as (url, frozen),
        on_stage(broker, topics, tmp_path, database=url) as stage,
    ):
        # Here, for what the join does comes by this event loop, which must not wait for it.
        engine = connect(postgres_url)
        prepare(engine)
        engine.dispose()
        running = asyncio.create_task(join.main(stage.settings, asyncio.Event()))
        upload_id = await stage.open()

        async def is_read() -> bool:
            return await _seen(postgres_url, upload_id)

        await eventually(is_read, what="the join to work")
        frozen.set()
        with pytest.raises(DatabaseSilent):
            async with asyncio.timeout(60):
                await running


async def _seen(url: str, upload_id: str) -> bool:
    engine = connect(url)
    try:
        with engine.connect() as connection:
            query = f"SELECT count(*) FROM uploads WHERE id = '{upload_id}'"
            return bool(connection.exec_driver_sql(query).scalar_one())
    finally:
        engine.dispose()

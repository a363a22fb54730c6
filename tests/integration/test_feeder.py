"""The feeder on a real broker: from a stored file to its rows, through checks, starts, cancels and windows."""

import gzip
import io
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import murmur2
from openpyxl import Workbook

from schemas import groups
from schemas import topics as registry
from schemas.codec import encode
from schemas.rows import RejectedRow, UploadRow
from schemas.settings import Settings
from schemas.upload_events import (
    CancelUpload,
    DeleteUpload,
    PauseUpload,
    SetOptions,
    StartUpload,
    UploadChecked,
    UploadChecking,
    UploadFed,
    UploadOpened,
    UploadRefused,
)
from schemas.uploads import PlanQuestion, UploadOptions
from services.ingest.feeder.check import PHONES_PER_QUESTION
from services.ingest.feeder.lag import measuring_lag
from services.ingest.feeder.role import main
from services.ingest.feeder.window import TRANSIT_ROWS, TURN_ROWS, WINDOW_ROWS
from services.runtime.kafka import admin_client, group_name, make_consumer, partitions_of, started, topic_name
from tests.fixtures.ids import upload_id
from tests.integration.ingest_world import World, now, numbers_file, running, world_of
from tests.support.waiting import eventually

PARTITIONS = 4
GONE, AGAIN = upload_id("gone"), upload_id("again")


@pytest.fixture
def settings(broker: str, topics: str, tmp_path: Path) -> Settings:
    return Settings(kafka=broker, topic_prefix=topics, data=tmp_path, partitions=PARTITIONS)


@pytest.fixture
async def world(settings: Settings) -> AsyncIterator[World]:
    async with world_of(settings) as world:
        yield world


async def test_a_file_becomes_rows_on_the_partitions_of_their_phones(world: World, settings: Settings) -> None:
    content = b"name,phone,note\nAnn,(415) 555-0100,x\nBob,,\nCid,n/a,\nDee,+14155550100,y\n"
    async with running(main, settings):
        upload = await world.open(content)
        fed = await world.fed(upload)
    assert (fed.rows, fed.rejected) == (4, 2)
    assert len(world.events(upload, UploadChecking)) == 1
    (checked,) = world.events(upload, UploadChecked)
    assert checked.detected.columns == ("name", "phone", "note")
    assert checked.detected.phone_columns == (1,)
    assert checked.counts.model_dump() == {"rows": 4, "with_phone": 3, "usable": 2, "split": 0, "distinct": 1}
    assert [row.problem for row in checked.preview.rows] == [None, "no_phone", "not_a_phone", None]
    assert checked.preview.problems == {"no_phone": 1, "not_a_phone": 1}
    rows = sorted(world.of(registry.UPLOAD_ROWS, upload, UploadRow), key=lambda row: row.row)
    assert [(row.row, row.line, row.phone, row.cells) for row in rows] == [
        (1, 2, "+14155550100", ("Ann", "(415) 555-0100", "x")),
        (4, 5, "+14155550100", ("Dee", "+14155550100", "y")),
    ]
    for record in world.records[topic_name(registry.UPLOAD_ROWS, settings)]:
        assert record.partition == (murmur2(record.key) & 0x7FFFFFFF) % PARTITIONS
    rejected = world.of(registry.REJECTED_ROWS, upload, RejectedRow)
    assert [(row.row, row.error.code, row.error.column) for row in rejected] == [
        (2, "no_phone", "phone"),
        (3, "not_a_phone", "phone"),
    ]
    (question,) = world.of(registry.PLAN_QUESTIONS, upload, PlanQuestion)
    assert (question.phones, question.last, question.check_id) == (("+14155550100",), True, checked.check_id)


async def test_workbooks_json_lines_and_packed_files_are_read_alike(world: World, settings: Settings) -> None:
    rows = [["name", "phone"], ["Ann", "+14155550100"], ["Bob", "+14155550101"]]
    book = io.BytesIO()
    workbook = Workbook()
    for row in rows:
        workbook.worksheets[0].append(row)
    workbook.save(book)
    lines = b"".join(orjson.dumps(dict(zip(rows[0], row, strict=True))) + b"\n" for row in rows[1:])
    packed = gzip.compress(b"".join(",".join(row).encode() + b"\r\n" for row in rows))
    contents = {"xlsx": book.getvalue(), "jsonl": lines, "csv": packed}
    async with running(main, settings):
        uploads = {format_: await world.open(content) for format_, content in contents.items()}
        for format_, upload in uploads.items():
            await world.fed(upload)
            (checked,) = world.events(upload, UploadChecked)
            assert (checked.detected.format, checked.detected.columns) == (format_, ("name", "phone"))
            read = sorted(world.of(registry.UPLOAD_ROWS, upload, UploadRow), key=lambda row: row.row)
            assert [(row.phone, list(row.cells)) for row in read] == [(row[1], row) for row in rows[1:]]


async def test_a_person_looks_changes_the_column_and_starts(world: World, settings: Settings) -> None:
    content = b"home,work\n+14155550100,+14155550111\n+14155550101,+14155550112\n"
    async with running(main, settings):
        upload = await world.open(content, start=False, phone_columns=["home"])
        await world.until(lambda: len(world.events(upload, UploadChecked)) == 1, "checked")
        changed = UploadOptions(start=False, phone_columns=("work",))
        await world.tell(SetOptions(upload_id=upload, at=now(), options=changed))
        await world.until(lambda: len(world.events(upload, UploadChecked)) == 2, "checked again")
        assert world.row_numbers(upload) == ([], [])
        start = StartUpload(upload_id=upload, at=now())
        await world.tell(start)
        await world.fed(upload)
    first, second = world.events(upload, UploadChecked)
    assert (first.detected.phone_columns, second.detected.phone_columns) == ((0,), (1,))
    assert first.check_id != second.check_id
    rows = world.of(registry.UPLOAD_ROWS, upload, UploadRow)
    assert {row.phone for row in rows} == {"+14155550111", "+14155550112"}
    assert {row.wanted_at for row in rows} == {start.at}


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"name,city\nAnn,Rome\nBob,Oslo\n", "no-phone-column"), (b"PK\x03\x04 and then rubbish", "bad-archive")],
)
async def test_what_cannot_be_processed_is_refused_with_a_reason(
    world: World, settings: Settings, content: bytes, code: str
) -> None:
    async with running(main, settings):
        upload = await world.open(content)
        await world.until(lambda: bool(world.events(upload, UploadRefused)), "refused")
    (refused,) = world.events(upload, UploadRefused)
    assert refused.code == code
    assert refused.title
    assert refused.detail


async def test_a_file_that_has_expired_is_refused(world: World, settings: Settings) -> None:
    location = await world.store(numbers_file(3))
    gone = location.model_copy(update={"attempt": "never-stored"})
    async with running(main, settings):
        await world.tell(UploadOpened(upload_id=GONE, at=now(), name="x", owner="o", file=gone))
        await world.until(lambda: bool(world.events(GONE, UploadRefused)), "refused")
    assert world.events(GONE, UploadRefused)[0].code == "file-expired"


async def test_another_upload_may_read_the_same_stored_file(world: World, settings: Settings) -> None:
    async with running(main, settings):
        first = await world.open(numbers_file(5))
        await world.fed(first)
        (opened,) = world.events(first, UploadOpened)
        again = {"upload_id": AGAIN, "at": now(), "operation": "reprocess", "parent_id": first}
        await world.tell(opened.model_copy(update=again))
        await world.fed(AGAIN)
    assert world.row_numbers(AGAIN) == world.row_numbers(first)


async def test_a_large_upload_waits_for_the_join_and_a_small_one_passes_it(world: World, settings: Settings) -> None:
    rows = 3 * TRANSIT_ROWS
    async with running(main, settings):
        large = await world.open(numbers_file(rows))
        await world.until(lambda: len(world.row_numbers(large)[0]) == TRANSIT_ROWS, "as many rows as may be on the way")
        small = await world.open(numbers_file(3))
        assert (await world.fed(small)).rows == 3
        assert len(world.row_numbers(large)[0]) == TRANSIT_ROWS
        await world.report(large, waiting=TRANSIT_ROWS)
        await world.until(lambda: len(world.row_numbers(large)[0]) == 2 * TRANSIT_ROWS, "more, once those are stored")
        await world.report(large, waiting=rows)
        fed = await world.fed(large)
    assert rows <= WINDOW_ROWS
    assert (fed.rows, fed.rejected) == (rows, 0)
    assert world.row_numbers(large)[0] == list(range(1, rows + 1))


async def test_the_rest_of_a_cancelled_upload_is_left_out_but_all_rows_are_there(
    world: World, settings: Settings
) -> None:
    rows = 2 * TRANSIT_ROWS
    async with running(main, settings):
        upload = await world.open(numbers_file(rows, bad_every=100))
        await world.until(
            lambda: sum(len(numbers) for numbers in world.row_numbers(upload)) == TRANSIT_ROWS, "the first rows"
        )
        await world.tell(CancelUpload(upload_id=upload, at=now()))
        fed = await world.fed(upload)
    usable, rejected = world.row_numbers(upload)
    assert sorted(usable + rejected) == list(range(1, rows + 1))
    assert usable[-1] <= TRANSIT_ROWS
    assert (fed.rows, fed.rejected) == (rows, len(rejected))
    codes = {row.row: row.error.code for row in world.of(registry.REJECTED_ROWS, upload, RejectedRow)}
    assert {code for row, code in codes.items() if row > TRANSIT_ROWS} == {"cancelled", "not_a_phone"}
    assert {code for row, code in codes.items() if row <= TRANSIT_ROWS} == {"not_a_phone"}


async def test_a_sample_looks_up_its_first_rows_only(world: World, settings: Settings) -> None:
    async with running(main, settings):
        upload = await world.open(numbers_file(10), start=False)
        await world.tell(StartUpload(upload_id=upload, at=now(), sample_rows=4))
        await world.fed(upload)
    assert world.row_numbers(upload) == ([1, 2, 3, 4], [5, 6, 7, 8, 9, 10])


async def test_a_cap_on_calls_is_never_passed_and_known_phones_do_not_count(world: World, settings: Settings) -> None:
    rows = 3 * TURN_ROWS
    async with running(main, settings):
        upload = await world.open(numbers_file(rows), max_calls=3)
        await world.until(lambda: len(world.row_numbers(upload)[0]) == 3, "as many rows as calls")
        await world.report(upload, answered=3, calls=1)
        await world.until(lambda: len(world.row_numbers(upload)[0]) == 5, "two calls are left")
        await world.report(upload, answered=5, calls=3)
        await world.fed(upload)
    assert world.row_numbers(upload) == ([1, 2, 3, 4, 5], list(range(6, rows + 1)))


async def test_a_deleted_upload_stops_and_leaves_no_checkpoint(world: World, settings: Settings) -> None:
    checkpoints = topic_name(registry.FEED_CHECKPOINTS, settings)

    def last_checkpoint(upload: str) -> object:
        values = [record.value for record in world.records.get(checkpoints, []) if record.key == upload.encode()]
        return values[-1] if values else "none yet"

    async with running(main, settings):
        upload = await world.open(numbers_file(2 * TRANSIT_ROWS))
        await world.until(lambda: len(world.row_numbers(upload)[0]) == TRANSIT_ROWS, "the first rows")
        await world.until(lambda: last_checkpoint(upload) not in ("none yet", None), "a checkpoint")
        await world.tell(DeleteUpload(upload_id=upload, at=now()))
        await world.until(lambda: last_checkpoint(upload) is None, "the checkpoint is erased")
        await world.report(upload, waiting=TRANSIT_ROWS)
        other = await world.open(numbers_file(3))
        await world.fed(other)
    assert len(world.row_numbers(upload)[0]) == TRANSIT_ROWS
    assert not world.events(upload, UploadFed)


async def test_many_phones_are_asked_about_in_numbered_batches(world: World, settings: Settings) -> None:
    rows = 2 * PHONES_PER_QUESTION + 1
    async with running(main, settings):
        upload = await world.open(numbers_file(rows), start=False)
        await world.until(lambda: bool(world.events(upload, UploadChecked)), "checked")
    questions = world.of(registry.PLAN_QUESTIONS, upload, PlanQuestion)
    assert [(question.batch, question.last) for question in questions] == [(0, False), (1, False), (2, True)]
    asked = [phone for question in questions for phone in question.phones]
    (checked,) = world.events(upload, UploadChecked)
    assert len(asked) == len(set(asked)) == checked.counts.distinct == rows


async def test_operators_see_no_lag_of_an_idle_feeder(world: World, settings: Settings) -> None:
    async with running(main, settings):
        await world.fed(await world.open(numbers_file(3)))
        await no_lag(settings)


async def test_the_end_of_a_transaction_is_no_unread_event(world: World, settings: Settings) -> None:
    """The watchdog would end the feeder each minute, until the next event of that partition."""
    async with running(main, settings):
        upload = await world.fed(await world.open(numbers_file(3)))
        producer = AIOKafkaProducer(
            bootstrap_servers=settings.kafka, transactional_id=f"{settings.topic_prefix}another-system"
        )
        async with started(producer), producer.transaction():
            for partition in range(PARTITIONS):
                event = encode(PauseUpload(upload_id=upload.upload_id, at=now()))
                name = topic_name(registry.UPLOAD_EVENTS, settings)
                await producer.send_and_wait(name, event, partition=partition)
        await no_lag(settings)


async def no_lag(settings: Settings) -> None:
    """Waits until the feeder has committed the end of each partition of `upload-events`."""
    async with started(make_consumer(settings)) as asker, admin_client(settings) as admin:
        events = await partitions_of(asker, topic_name(registry.UPLOAD_EVENTS, settings))

        async def is_all_committed() -> bool:
            found = await admin.list_consumer_group_offsets(group_name(groups.FEEDER, settings), partitions=events)
            committed = {tp: offset.offset for tp, offset in found.items()}
            return bool(committed == await asker.end_offsets(events))

        await eventually(is_all_committed, what="the feeder to commit the ends", seconds=30)


async def test_the_workers_lag_is_what_it_has_not_committed(world: World, settings: Settings) -> None:
    async with running(main, settings):
        upload = await world.open(numbers_file(50))
        await world.fed(upload)
    async with started(make_consumer(settings)) as asker, measuring_lag(settings, offset_client=asker) as lag:

        async def is_none() -> bool:
            return await lag.rows() == 0

        await eventually(is_none, what="no lag", seconds=30)
        row = world.of(registry.UPLOAD_ROWS, upload, UploadRow)[0]
        await world.stop_following()
        for _ in range(7):
            await world.send(registry.UPLOAD_ROWS, row.phone, row)
        assert await lag.rows() == 7


async def test_rows_of_other_systems_are_none_of_its_business(world: World, settings: Settings) -> None:
    async with running(main, settings):
        await world.tell(UploadOpened(upload_id=GONE, at=now(), name="x", owner="o", operation="kafka"))
        other = await world.open(numbers_file(3))
        await world.fed(other)
    assert not world.events(GONE, UploadChecking)

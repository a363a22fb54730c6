"""What strangers may write or upload ends at most the upload that it belongs to: the feeder goes on for all others."""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka.errors import KafkaError

from schemas import topics as registry
from schemas.codec import encode
from schemas.rows import BadRecord, UploadRow
from schemas.settings import Settings
from schemas.topics import Topic
from schemas.upload_events import (
    CancelUpload,
    DeleteUpload,
    StartUpload,
    UploadChecked,
    UploadChecking,
    UploadFed,
    UploadOpened,
    UploadRefused,
)
from schemas.uploads import Detected, FeedCheckpoint, FileCounts, FileLocation, UploadOptions
from services.ingest.feeder import failures
from services.ingest.feeder.role import main
from services.ingest.feeder.spool import Spool
from services.runtime.kafka import topic_name
from services.runtime.partitions import partition_of
from tests.fixtures.hostile import Hostile, some_hostile_records
from tests.fixtures.ids import upload_id
from tests.integration.ingest_world import World, ends_of, limit_records, now, numbers_file, running, world_of

pytestmark = pytest.mark.hostile

PARTITIONS = 4
RECORDS = 1_000
OPENED = UploadOpened(upload_id=upload_id("x"), at=now(), name="x", owner="o").model_dump(mode="json")


@pytest.fixture
def settings(broker: str, topics: str, tmp_path: Path) -> Settings:
    return Settings(kafka=broker, topic_prefix=topics, data=tmp_path / "data", partitions=PARTITIONS)


@pytest.fixture
async def world(settings: Settings) -> AsyncIterator[World]:
    async with world_of(settings) as world:
        yield world


async def refusal_of(world: World, upload: str) -> str:
    await world.until(lambda: bool(world.events(upload, UploadRefused)), "the upload is refused")
    (refused,) = world.events(upload, UploadRefused)
    return refused.code


HOSTILE_EVENTS: tuple[dict[str, Any], ...] = (
    OPENED | {"at": "0001-01-01T00:00:00+14:00"},
    OPENED | {"at": "9999-12-31T23:59:59-12:00"},
    OPENED | {"options": {"max_age_seconds": 10**11}},
    OPENED | {"options": {"phone_columns": [10**20]}},
    OPENED | {"file": {"partition": -1, "first_offset": 10**20, "last_offset": 0, "chunks": 10**9, "attempt": "a"}},
    OPENED | {"type": "upload_fed", "rows": 10**20, "rejected": 0},
    OPENED | {"type": "set_options", "options": {"area_column": -(10**20)}},
    OPENED | {"type": "nobody knows"},
    {"type": "upload_opened"},
)


async def test_events_that_are_none_change_nothing(world: World, settings: Settings, tmp_path: Path) -> None:
    keep = tmp_path / "keep"
    keep.mkdir()
    location = (await world.store(numbers_file(1))).model_dump()
    paths = [str(keep), "..", "../..", "", ".", "/"]
    async with running(main, settings):
        for value in [b"", b"\xff", b"9" * 10_000, *map(as_json, HOSTILE_EVENTS)]:
            await world.send_raw(registry.UPLOAD_EVENTS, OPENED["upload_id"].encode(), value)
        for path in paths:
            for event in (OPENED | {"file": location}, {"type": "delete_upload", "at": OPENED["at"]}):
                await world.send_raw(registry.UPLOAD_EVENTS, path.encode(), as_json(event | {"upload_id": path}))
        for partition_key in (upload_id(f"key {number}") for number in range(12)):
            await world.fed(await world.open(numbers_file(2), upload_id=partition_key))
    assert keep.is_dir()
    assert settings.data.is_dir()


def as_json(event: dict[str, Any]) -> bytes:
    """JSON, also of integers beyond 64 bits."""
    return json.dumps(event).encode()


async def test_options_that_nobody_may_choose_leave_the_upload_as_it_was(world: World, settings: Settings) -> None:
    async with running(main, settings):
        upload = await world.open(numbers_file(3), start=False)
        await world.until(lambda: bool(world.events(upload, UploadChecked)), "checked")
        for options in ({"phone_columns": [10**20]}, {"area_column": 10**20}, {"max_age_seconds": 10**11}):
            event = {"type": "set_options", "upload_id": upload, "at": now().isoformat(), "options": options}
            await world.send_raw(registry.UPLOAD_EVENTS, upload.encode(), as_json(event))
        await world.tell(StartUpload(upload_id=upload, at=now()))
        assert (await world.fed(upload)).rows == 3


async def test_a_file_that_kafka_does_not_hold_ends_its_upload_at_once(world: World, settings: Settings) -> None:
    stored = await world.store(numbers_file(3))
    wrong: list[dict[str, object]] = [
        {"first_offset": 10**15, "last_offset": 10**15},
        {"last_offset": stored.last_offset + 10},
        {"partition": 99},
        {"partition": 2**31 - 1},
        {"chunks": 0},
        {"chunks": 2**31 - 1},
        {"first_offset": 5, "last_offset": 0},
        {"attempt": "another"},
    ]
    async with running(main, settings), asyncio.timeout(40):
        uploads = [upload_id(f"wrong {number}") for number in range(len(wrong))]
        for upload, update in zip(uploads, wrong, strict=True):
            file = FileLocation.model_validate(stored.model_dump() | update)
            await world.tell(UploadOpened(upload_id=upload, at=now(), name="x", owner="o", file=file, bytes=2**63 - 1))
        assert [await refusal_of(world, upload) for upload in uploads] == ["file-expired"] * len(wrong)
        await world.fed(await world.open(numbers_file(3)))


async def test_a_file_whose_records_are_no_chunks_is_no_file(world: World, settings: Settings) -> None:
    name = topic_name(registry.UPLOAD_FILES, settings)
    places = [
        await world.sender.producer.send_and_wait(name, value, key=b"k", partition=0, headers=[("attempt", b"a")])
        for value in (None, b"")
    ]
    file = FileLocation(
        partition=0, first_offset=places[0].offset, last_offset=places[-1].offset, chunks=2, attempt="a"
    )
    async with running(main, settings):
        await world.tell(UploadOpened(upload_id=upload_id("x"), at=now(), name="x", owner="o", file=file))
        assert await refusal_of(world, upload_id("x")) == "file-expired"


async def test_headers_and_wide_rows_beyond_all_measure_are_refused(world: World, settings: Settings) -> None:
    small = settings.model_copy(update={"max_expanded_bytes": 5_000_000})
    keys = b"".join(orjson.dumps({"phone": "+14155550100", f"{n}" * 10_000: 1}) + b"\n" for n in range(10, 110))
    first = {f"k{n}": 1 for n in range(2_000)} | {"phone": "+14155550100"}
    wide = b"".join(orjson.dumps(row) + b"\n" for row in (first, *[{"phone": "+14155550101"}] * 3_000))
    async with running(main, small):
        uploads = [await world.open(content) for content in (keys, wide)]
        assert [await refusal_of(world, upload) for upload in uploads] == ["header-too-long", "too-much-text"]
        await world.fed(await world.open(numbers_file(3)))


async def test_forged_events_end_at_most_their_own_upload(world: World, settings: Settings) -> None:
    async with running(main, settings):
        forged, refused, fed, other = [await world.open(numbers_file(3), start=False) for _ in range(4)]
        for upload in (forged, refused, fed, other):
            # Mypy cannot infer a lambda with a default.
            await world.until(lambda upload=upload: bool(world.events(upload, UploadChecked)), "checked")  # type: ignore[misc]
        (checked,) = world.events(forged, UploadChecked)
        counts = FileCounts(rows=2**31 - 1, with_phone=0, usable=0, split=0, distinct=0)
        await world.tell(checked.model_copy(update={"counts": counts, "detected": Detected(format="kafka")}))
        await world.tell(UploadRefused(upload_id=refused, at=now(), code="x", title="x", detail="x"))
        await world.tell(UploadFed(upload_id=fed, at=now(), rows=2**31 - 1, rejected=0))
        for upload in (forged, refused, fed, other):
            await world.tell(StartUpload(upload_id=upload, at=now()))
        assert (await world.fed(forged)).rows == 3
        assert (await world.fed(other)).rows == 3
    assert world.row_numbers(refused) == world.row_numbers(fed) == ([], [])


async def test_a_hostile_checkpoint_is_put_aside_or_passed_over(world: World, settings: Settings) -> None:
    upload = await world.open(numbers_file(5))
    check_id = f"{upload}.0"
    checkpoint = FeedCheckpoint(
        upload_id=upload,
        check_id=check_id,
        detected=Detected(format="csv"),
        options=UploadOptions(),
        counts=FileCounts(rows=5, with_phone=5, usable=5, split=0, distinct=5),
        next_row=2**31 - 1,
        rejected=0,
        at=now(),
    )
    await world.send(registry.FEED_CHECKPOINTS, upload, checkpoint)
    for value in (b"\x00" * 50_000, encode(checkpoint)):
        await world.send_raw(registry.FEED_CHECKPOINTS, upload_id("another").encode(), value)
    async with running(main, settings):
        fed = await world.fed(upload)
        aside = topic_name(registry.BAD_RECORDS, settings)
        await world.until(lambda: len(world.records.get(aside, [])) >= 2, "the records are put aside")
    assert (fed.rows, fed.rejected) == (5, 0)
    found = [BadRecord.model_validate_json(record.value) for record in world.records[aside]]
    told = sorted(found, key=lambda one: one.offset)
    assert [(one.role, one.reason) for one in told] == [("feeder", "undecodable")] * 2
    assert all(one.topic == topic_name(registry.FEED_CHECKPOINTS, settings) for one in told)
    assert len(told[0].value or b"") == 16 * 1024


async def test_a_record_that_kafka_refuses_for_its_size_ends_its_own_upload_only(
    world: World, settings: Settings
) -> None:
    noise = random.Random(1)
    limited = (registry.UPLOAD_ROWS, registry.REJECTED_ROWS, registry.UPLOAD_EVENTS, registry.FEED_CHECKPOINTS)
    await limit_records(settings, *limited)

    def text(characters: int) -> str:
        return "".join(chr(noise.randrange(0x4E00, 0x9FFF)) for _ in range(characters))

    huge_row = numbers_file(3_000) + f"{text(100_000)},+14155550100\n".encode()
    huge_header = b"phone," + ",".join(text(900) for _ in range(80)).encode() + b"\n+14155550100\n+14155550101\n"
    many_rows = b"name,phone\n" + b"".join(
        f"{text(200)},+1{212 + row % 2}555{row % 10_000:04d}\n".encode() for row in range(2_500)
    )
    async with running(main, settings):
        uploads = [await world.open(content) for content in (huge_row, huge_header)]
        assert [await refusal_of(world, upload) for upload in uploads] == ["record-too-large"] * 2
        assert (await world.fed(await world.open(many_rows))).rows == 2_500
        for number in range(12):
            await world.fed(await world.open(numbers_file(2), upload_id=upload_id(f"after {number}")))
    published = {row.row for row in world.of(registry.UPLOAD_ROWS, uploads[0], UploadRow)}
    checkpoints = world.of(registry.FEED_CHECKPOINTS, uploads[0], FeedCheckpoint)
    assert all(set(range(1, checkpoint.next_row)) <= published for checkpoint in checkpoints)


async def test_a_cancel_and_a_delete_of_what_nobody_opened_do_nothing(world: World, settings: Settings) -> None:
    async with running(main, settings):
        for kind in (CancelUpload, DeleteUpload, StartUpload):
            await world.tell(kind(upload_id=upload_id("never"), at=now()))
        await world.fed(await world.open(numbers_file(2)))


async def test_what_fails_with_one_file_ends_its_upload_or_waits_and_others_go_on(
    world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "DISK_FULL_PAUSE_SECONDS", 0.1)
    spool = Spool(settings)
    async with running(main, settings):
        for number in range(12):  # once each partition's feeder works, it empties no folder any more
            await world.fed(await world.open(numbers_file(2), upload_id=upload_id(f"before {number}")))
        ends = {tp.partition: end for tp, end in (await ends_of(registry.UPLOAD_EVENTS, settings)).items()}

        def file_of(upload: str) -> Path:
            """Where the feeder will put an upload's file, once it is opened by the next record of its partition."""
            check_id = f"{upload}.{ends[partition_of(upload.encode(), PARTITIONS)]}"
            return spool.folder_of(upload, check_id) / "file"

        ids = iter(upload_id(f"u{number}") for number in range(100))
        full = next(ids)
        others = (one for one in ids if partition_of(one.encode(), 4) != partition_of(full.encode(), 4))
        broken = next(others)
        file_of(full).symlink_to("/dev/full")
        file_of(broken).mkdir()
        for upload in (full, broken):
            await world.open(numbers_file(3), upload_id=upload)
        assert await refusal_of(world, broken) == "reading-failed"
        assert (await world.fed(full)).rows == 3
    assert len(world.events(full, UploadChecking)) == 2
    assert "IsADirectoryError" in world.events(broken, UploadRefused)[0].detail


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_thousand_hostile_records_of_each_topic_stop_nothing(
    world: World, settings: Settings, seed: int
) -> None:
    read = (registry.UPLOAD_FILES, registry.UPLOAD_EVENTS, registry.FEED_CHECKPOINTS, registry.UPLOAD_PROGRESS)
    async with running(main, settings):
        before = await world.open(numbers_file(3), start=False)
        for topic in read:
            records = some_hostile_records(topic, RECORDS, seed=seed)
            for begin in range(0, RECORDS, 100):
                await asyncio.gather(*(pour(world, topic, record) for record in records[begin : begin + 100]))
        await world.tell(StartUpload(upload_id=before, at=now()))
        assert (await world.fed(before)).rows == 3
    async with running(main, settings):
        assert (await world.fed(await world.open(numbers_file(3)))).rows == 3


async def pour(world: World, topic: Topic, record: Hostile) -> None:
    """Writes a record, unless it is so large that Kafka does not take it."""
    key = b"" if record.key is None and record.value is None else record.key
    with contextlib.suppress(KafkaError):
        await world.send_raw(topic, key, record.value)

"""What strangers may send to `POST /v1/uploads`, or write to the topics that it follows, harms nobody else."""

import asyncio
import json
import os
from typing import Any

import httpx
import pytest

from schemas import topics as registry
from schemas.settings import Settings
from services.ingest.feeder.spool import Spool
from services.ingest.http.opened_log import following_opened_log
from services.runtime.kafka import topic_name
from tests.fixtures.ids import upload_id
from tests.integration.ingest_world import TINY_RECORD_BYTES, World, limit_records, now
from tests.integration.test_ingest_http import CSV, UPLOADS, client, opened, served, settings, world
from tests.support.waiting import eventually

pytestmark = pytest.mark.hostile

__all__ = ["client", "settings", "world"]

DISPOSITION = "Content-Disposition"
BIG = "1" + "0" * 20
FORM = {"Content-Type": "multipart/form-data; boundary=b"}


def form(name: str, value: str) -> dict[str, Any]:
    return {"data": {name: value}, "files": {"file": ("a.csv", CSV)}}


REFUSED: tuple[tuple[dict[str, Any], int, str], ...] = (
    *(
        (request, 422, name)
        for name, value in (
            ("max_age_seconds", "100000000000"),
            ("max_age_seconds", BIG),
            ("max_age_seconds", "-1"),
            ("max_calls", BIG),
            ("sample_rows", BIG),
            ("priority", BIG),
            ("phone_column", "99999"),
            ("phone_column", "a\0b"),
            ("area_column", "16384"),
            ("region", "\0\0"),
            ("sheet", "s" * 300),
            ("encoding", "e" * 300),
            ("delimiter", "\0"),
            ("header", BIG),
            ("start", "\0"),
            ("no such thing", "x"),
        )
        for request in ({"params": {name: value}, "content": CSV}, form(name, value))
    ),
    ({"content": CSV, "headers": {"Idempotency-Key": ""}}, 400, "Idempotency-Key"),
    ({"content": CSV, "headers": {"Idempotency-Key": "x" * 256}}, 400, "Idempotency-Key"),
    ({"content": CSV, "headers": {"Idempotency-Key": b"caf\xe9"}}, 400, "Idempotency-Key"),
    ({"content": CSV, "headers": [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]}, 400, "Idempotency-Key"),
    ({"content": CSV, "headers": {DISPOSITION: "attachment; filename=" + "x" * 5_000}}, 400, DISPOSITION),
    ({"content": b"--b\r\n" + b"X: " + b"y" * 50_000, "headers": FORM}, 400, "body"),
    ({"content": b"\0" * 100, "headers": FORM}, 400, "body"),
    ({"files": {"region": (None, b"US")}}, 422, "file"),
)


async def test_each_parameter_out_of_bounds_is_named_and_nothing_is_opened(
    client: httpx.AsyncClient, world: World, settings: Settings
) -> None:
    for request, status, column in REFUSED:
        answer = await client.post(UPLOADS, **request)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), request
        problem = answer.json()
        assert [item["column"] for item in problem["errors"]] == [column]
        assert all(item["code"] and item["detail"] for item in problem["errors"])
        assert len(answer.content) < 5_000
    after = await client.post(UPLOADS, content=CSV)
    await opened(world, after.json()["id"])
    assert len(world.records[topic_name(registry.UPLOAD_EVENTS, settings)]) == 1


@pytest.mark.parametrize("disposition", [b"\xff\xfe", b"attachment; filename*=idna''%80", b'; filename="\\', b"=;=;"])
async def test_a_name_that_is_none_is_no_reason_to_refuse_a_file(client: httpx.AsyncClient, disposition: bytes) -> None:
    answer = await client.post(UPLOADS, content=CSV, headers={DISPOSITION.encode(): disposition})
    assert answer.status_code == 202
    assert 1 <= len(answer.json()["name"]) <= 200


async def test_records_that_are_none_leave_keys_as_they_are(client: httpx.AsyncClient, world: World) -> None:
    event = {"type": "upload_opened", "upload_id": upload_id("x"), "at": now().isoformat(), "name": "x", "owner": "o"}
    hostile = [
        event | {"at": "0001-01-01T00:00:00+14:00"},
        event | {"at": "9999-12-31T23:59:59-12:00"},
        event | {"bytes": 10**30},
        event | {"owner": "o" * 500_000},
        {"type": "delete_upload"},
        {"upload_opened": ["delete_upload"] * 1_000},
    ]
    for number in range(12):
        key = upload_id(f"key {number}").encode()
        for topic in (registry.UPLOAD_EVENTS, registry.UPLOAD_PROGRESS):
            for value in [b"", b"\xffupload_opened", *(json.dumps(one).encode() for one in hostile)]:
                await world.send_raw(topic, key, value)
    for number in range(8):
        headers = {"Idempotency-Key": f"k{number}"}
        first, again = [await client.post(UPLOADS, content=CSV, headers=headers) for _ in range(2)]
        assert (first.status_code, again.status_code, again.content) == (202, 202, first.content)
    assert (await client.get("/health/ready")).status_code == 200


async def test_a_log_that_nobody_reads_any_more_is_not_followed(settings: Settings, world: World) -> None:
    await world.send_raw(registry.UPLOAD_EVENTS, b"k", b"{}")
    async with following_opened_log(settings) as log, asyncio.timeout(30):
        await eventually(lambda: log.is_following, what="the log to be followed", seconds=30)
        (reader,) = [task for task in asyncio.all_tasks() if "OpenedLog._follow" in repr(task.get_coro())]
        reader.cancel()
        await asyncio.wait({reader})
        assert not log.is_following


async def test_files_are_cut_into_records_that_kafka_takes(settings: Settings, world: World) -> None:
    await limit_records(settings, registry.UPLOAD_FILES)
    content = b"name,phone\n" + os.urandom(400_000).hex().encode()
    async with served(settings) as client:
        answer = await client.post(UPLOADS, content=content)
        event = await opened(world, answer.json()["id"])
    assert event.file is not None
    assert event.file.chunks > len(content) // TINY_RECORD_BYTES
    with Spool(settings) as spool:
        target = spool.folder_of("u", "c") / "file"
        await spool.fetch(event.file, target)
        assert target.read_bytes() == content


async def test_a_record_that_kafka_refuses_for_its_size_ends_its_own_upload_only(
    client: httpx.AsyncClient, settings: Settings
) -> None:
    await limit_records(settings, registry.UPLOAD_FILES)
    huge = os.urandom(1_000_000).hex().encode()
    async with asyncio.timeout(60):
        for _ in range(2):
            refused = await client.post(UPLOADS, content=b"name,phone\n" + huge)
            assert (refused.status_code, refused.json()["type"]) == (503, "/problems/storage-not-available")
            for _ in range(12):
                assert (await client.post(UPLOADS, content=CSV)).status_code == 202

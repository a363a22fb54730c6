"""Odd requests and odd records: each has its own outcome, and nothing else changes."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from sqlalchemy import insert

from schemas import topics
from schemas.codec import encode
from schemas.parts import PartStatus
from schemas.rows import BadReason, bad_record_of
from services.assembler.status.following import Follower
from services.assembler.store.dialect import connect
from services.assembler.store.tables import uploads
from services.runtime.kafka import make_consumer, partitions_of, read_to_end, started, topic_name
from tests.fixtures.hostile import some_hostile_records
from tests.fixtures.ids import upload_id
from tests.integration.status_world import World, running_world
from tests.support.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.hostile]
HOSTILE_OF_A_TOPIC = 60
LISTENED_TO = (
    topics.PART_STATUS,
    topics.LOOKUP_STATUS,
    topics.LOOKUP_COMMANDS,
    topics.UPLOAD_PROGRESS,
    topics.UPLOAD_COMPLETIONS,
    topics.BAD_RECORDS,
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(broker: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running_world(broker, tmp_path_factory.mktemp("hostile"), admin="boss") as world:
        world.client.headers["Authorization"] = "Bearer boss"
        yield world


async def answer_to(world: World, request: bytes) -> bytes:
    """The first line of the answer to these very bytes; empty when the connection is closed without one."""
    url = urlsplit(world.url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    writer.write(request)
    async with asyncio.timeout(20):
        line = await reader.readline()
    writer.close()
    return line


def get(path: bytes, *headers: bytes, method: bytes = b"GET") -> bytes:
    lines = [method + b" " + path + b" HTTP/1.1", b"Connection: close", b"Authorization: Bearer boss", *headers]
    if not any(header.lower().startswith(b"host:") for header in headers):
        lines.append(b"Host: 127.0.0.1")
    return b"\r\n".join(lines) + b"\r\n\r\n"


ODD_REQUESTS = [
    get(b"/v1/uploads/%00"),
    get(b"/v1/uploads/%FF%FE"),
    get(b"/v1/uploads/..%2f..%2fetc"),
    get(b"/v1/uploads/" + b"9" * 20_000),
    get(b"/v1/uploads/\xff\xfe"),
    get(b"/v1/uploads?cursor=%00&limit=%F0%9F%92%A9"),
    get(b"/v1/uploads?" + b"a=1&" * 5_000),
    get(b"/v1/audit?cursor=999999999999999999_1"),
    get(b"/v1/audit?cursor=9999999999999999_1"),
    get(b"/v1/bad-records?cursor=9999999999999999_1_1"),
    get(b"/admin?audit=x"),
    get(b"/admin?said=%00&audit="),
    get(b"/?cursor=%00"),
    get(b"/?show=%00"),
    get(b"/docs", b"Host: ["),
    get(b"/docs", b"Host: \xff\xfe"),
    get(b"/sign-in?next=%00"),
    get(b"/sign-in", b"Host: ]", b"Content-Length: 0", method=b"POST"),
    get(b"/v1/queue/pause", b"Origin: http://[", b"Content-Length: 0", method=b"POST"),
    get(b"/v1/queue/pause", b"Origin: \xff", b"Content-Length: 0", method=b"POST"),
    get(b"/v1/queue", b"Cookie: scrub_session=\xff\x80; a"),
    get(b"/v1/queue", b"Cookie: " + b"c" * 100_000),
    get(b"/v1/queue", b"Authorization: Bearer \xff\xfe"),
    get(b"/v1/queue", b"If-None-Match: \xff," + b"," * 1000),
    get(b"/v1/queue", b"X-Nul: a\x00b"),
    get(b"/v1/queue", method=b"TRACE"),
    get(b"/v1/uploads/clear", method=b"PATCH"),
    get(b"/sign-in", b"Content-Type: multipart/form-data; boundary=x", b"Content-Length: 4", method=b"POST") + b"junk",
    get(b"/sign-in", b"Content-Type: multipart/form-data", b"Content-Length: 4", method=b"POST") + b"junk",
    get(b"/sign-in", b"Content-Type: multipart/form-data; boundary=\xff", b"Content-Length: 4", method=b"POST")
    + b"junk",
    get(b"/admin/clear", b"Content-Type: application/x-www-form-urlencoded", b"Content-Length: 22", method=b"POST")
    + b"older_than_days=%C2%B2",
    get(b"/admin/nonsense", b"Content-Length: 0", method=b"POST"),
    get(b"/admin/redrive", b"Content-Type: application/x-www-form-urlencoded", b"Content-Length: 14", method=b"POST")
    + b"upload_id=%00x",
    get(b"/selected", b"Content-Type: application/x-www-form-urlencoded", b"Content-Length: 20", method=b"POST")
    + b"action=delete&id=%00",
    get(b"/v1/uploads/clear", b"Content-Type: application/json", b"Content-Length: 3", method=b"POST") + b"\xff\xfe{",
    get(b"/v1/uploads/clear", b"Content-Length: 10", method=b"POST") + b"{",
    get(b"/v1/uploads/x/events", b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Key: x"),
]


@pytest.mark.parametrize("request_", ODD_REQUESTS, ids=lambda request: repr(request[:40]))
async def test_no_request_is_answered_by_a_server_error(world: World, request_: bytes) -> None:
    if b"Content-Length: 10" in request_:
        # The client goes away in the middle of its body.
        url = urlsplit(world.url)
        _, writer = await asyncio.open_connection(url.hostname, url.port)
        writer.write(request_)
        writer.close()
    else:
        line = await answer_to(world, request_)
        assert not line or line.split(b" ")[1][:1] in b"1234", line
    assert (await world.client.get("/health/ready")).status_code == 200


async def test_a_body_of_any_kind_is_bounded(world: World) -> None:
    body = b"a=" + b"x" * 200_000
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for path in ("/sign-in", "/selected", "/admin/clear"):
        assert (await world.client.post(path, content=body, headers=form)).status_code == 413
    answer = await world.client.post("/v1/uploads/clear", content=b'{"a":"' + body + b'"}')
    assert answer.status_code == 413
    assert answer.json()["type"] == "/problems/body-too-large"


async def test_a_socket_with_an_odd_place_begins_anew(world: World) -> None:
    from websockets.asyncio.client import connect as open_socket

    upload_id = await world.open()
    await world.upload(upload_id)
    headers = {"Authorization": "Bearer boss"}
    async with open_socket(
        f"{world.url.replace('http', 'ws')}/v1/uploads/{upload_id}/events", additional_headers=headers, proxy=None
    ) as socket:
        epoch = str(await socket.recv()).partition('"epoch":"')[2].partition('"')[0]
    for seq in ("%C2%B2", "9" * 5_000, "-1", "%00", "1e3"):
        address = f"{world.url.replace('http', 'ws')}/v1/uploads/{upload_id}/events?after={epoch}:{seq}"
        async with open_socket(address, additional_headers=headers, proxy=None) as socket:
            assert '"type":"hello"' in str(await socket.recv())
            assert '"type":"snapshot"' in str(await socket.recv())


async def test_hostile_records_harm_nobody_who_listens(world: World) -> None:
    for topic in LISTENED_TO:
        name = topic_name(topic, world.settings)
        for record in some_hostile_records(topic, HOSTILE_OF_A_TOPIC, seed=3):
            if record.key is not None or record.value is not None:
                await world.producer.send_and_wait(name, record.value, key=record.key)
    upload_id = await world.open()
    await world.rows(upload_id, range(1, 3))
    await world.fed(upload_id, 2)
    await world.parts("feeder", "worker", "gate", "join")
    await world.answer(upload_id, range(1, 3))
    await world.until_state(upload_id, "completed")

    async def hears_of_parts() -> bool:
        parts = (await world.client.get("/v1/queue")).json()["parts"]
        return {"feeder", "worker", "gate", "join"} <= {part["role"] for part in parts if part["state"] == "running"}

    await eventually(hears_of_parts, what="the parts to be heard")
    for path in (
        "/v1/queue",
        "/v1/uploads",
        "/v1/bad-records",
        "/metrics",
        "/admin",
        "/",
        f"/uploads/{upload_id}",
        "/health/ready",
    ):
        assert (await world.client.get(path)).status_code == 200, path


async def test_what_an_earlier_version_stored_does_not_hide_the_rest(broker: str, tmp_path: Path) -> None:
    async with running_world(broker, tmp_path, with_join=False) as world:
        known, odd = upload_id("known"), upload_id("odd")
        stored = [
            {"id": known, "options": '{"phone_columns":[100000000000000000000]}', "detected": "{}"},
            {"id": odd, "parent_id": "an_old_id"},
            {"id": "an_old_id"},
        ]
        engine = connect(world.settings.database_url)
        with engine.begin() as connection:
            for one in stored:
                opened = {"created_at": datetime.now(UTC), "owner": "local", "state": "in_progress"}
                connection.execute(insert(uploads).values(opened | one))
        engine.dispose()
        listed = await world.client.get("/v1/uploads")
        assert [one["id"] for one in listed.json()["items"]] == [known]
        assert (await world.client.get(f"/v1/uploads/{known}")).json()["options"]["phone_columns"] == []
        assert (await world.client.get(f"/v1/uploads/{known}/result.csv")).status_code == 200
        for gone in (odd, "an_old_id"):
            assert (await world.client.get(f"/v1/uploads/{gone}")).status_code == 404
        cleared = await world.client.post("/v1/uploads/clear", json={"states": ["in_progress"]})
        assert (cleared.status_code, cleared.json()["uploads"]) == (202, 2)


async def put_aside(world: World, offset: int, *, partition: int = 0, reason: BadReason = "failed") -> None:
    """Notes of a record of `upload-progress` that the join put it aside."""

    class Placed:
        key, value = b"k", b"v" * 20

        def __init__(self) -> None:
            self.partition, self.offset = partition, offset

    name = topic_name(topics.UPLOAD_PROGRESS, world.settings)
    bad = bad_record_of(
        Placed(), topic=name, role="join", instance="1", reason=reason, error="KeyError", at=datetime.now(UTC)
    )
    await world.producer.send_and_wait(topic_name(topics.BAD_RECORDS, world.settings), encode(bad))


async def listed(world: World, query: str) -> list[dict[str, object]]:
    answer = await world.client.get(f"/v1/bad-records?topic=upload-progress&{query}")
    assert answer.status_code == 200, answer.text
    items: list[dict[str, object]] = answer.json()["items"]
    return items


async def test_a_record_put_aside_is_listed_and_published_again_where_it_was(world: World) -> None:
    name = topic_name(topics.UPLOAD_PROGRESS, world.settings)
    sent = await world.producer.send_and_wait(
        name, b"odd \xff value", key=b"odd", partition=1, headers=[("h", b"\x00")]
    )
    await put_aside(world, sent.offset, partition=1)
    await put_aside(world, 10**9, partition=1)
    where = f"partition=1&offset={sent.offset}"
    (item,) = await eventually(lambda: listed(world, where), what="the record to be listed")
    assert item.keys() == {"topic", "partition", "offset", "role", "reason", "error", "at", "bytes"}
    assert (item["topic"], item["role"], item["reason"], item["error"], item["bytes"]) == (
        "upload-progress",
        "join",
        "failed",
        "KeyError",
        20,
    )
    await eventually(lambda: listed(world, "partition=1&offset=1000000000"), what="the other to be listed")
    body = {"topic": "upload-progress", "partition": 1}
    dry = (await world.client.post("/v1/bad-records/retry", json=body | {"dry_run": True})).json()
    assert dry == {"dry_run": True, "matched": 2, "retried": 0, "gone": 0, "not_possible": 0, "left": 0}
    done = await world.client.post("/v1/bad-records/retry", json=body)
    assert done.status_code == 202, done.text
    assert done.json() == {"dry_run": False, "matched": 2, "retried": 1, "gone": 1, "not_possible": 0, "left": 0}
    async with started(make_consumer(world.settings)) as consumer:
        (partition,) = [tp for tp in await partitions_of(consumer, name) if tp.partition == 1]
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        again = [record async for record in read_to_end(consumer, [partition]) if record.offset > sent.offset]
    assert [(r.key, r.value, tuple(r.headers)) for r in again if r.key == b"odd"] == [
        (b"odd", b"odd \xff value", (("h", b"\x00"),))
    ]

    async def is_off_the_list() -> bool:
        return not await listed(world, where)

    await eventually(is_off_the_list, what="the record to be off the list")

    async def is_audited() -> bool:
        audit = (await world.client.get("/v1/audit")).json()["items"]
        return [one["detail"] for one in audit if one["action"] == "retry_bad_records"] == [{"records": 2}]

    await eventually(is_audited, what="the deed to be on the list")


async def test_the_operators_page_shows_bad_records_and_tries_them_again(world: World) -> None:
    await put_aside(world, 10**9 + 7, partition=2, reason="too_large")
    await eventually(lambda: listed(world, "partition=2&offset=1000000007"), what="the record to be listed")
    page = (await world.client.get("/admin")).text
    assert "Too large to be written" in page
    assert "offset 1000000007" in page
    form = {"topic": "upload-progress", "partition": "2", "offset": "1000000007"}
    answer = await world.client.post("/admin/retry-records", data=form)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/admin?said=retry-records.0.1"
    assert 'scrub_bad_records{reason="too_large",role="join"} 1.0' in (await world.client.get("/metrics")).text


async def test_only_admins_see_what_was_put_aside(broker: str, tmp_path: Path) -> None:
    async with running_world(broker, tmp_path, with_join=False, tokens={"ta": "ann"}, admin="boss") as world:
        ann = {"Authorization": "Bearer ta"}
        assert (await world.client.get("/v1/bad-records", headers=ann)).status_code == 403
        assert (await world.client.post("/v1/bad-records/retry", headers=ann, json={"offset": 1})).status_code == 403
        assert "Bad records" not in (await world.client.get("/admin", headers=ann)).text


async def test_a_follower_outlives_whatever_it_meets(world: World) -> None:
    taken: list[int] = []
    begun = 0

    async def begin(consumer: AIOKafkaConsumer) -> dict[TopicPartition, int]:
        nonlocal begun
        begun += 1
        if begun == 1:
            raise RuntimeError("nobody foresaw this")
        partitions = await partitions_of(consumer, topic_name(topics.LOOKUP_RETRIES, world.settings))
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        return {}

    def take(record: ConsumerRecord) -> None:
        if record.value == b"0":
            raise ZeroDivisionError
        taken.append(record.offset)

    follower = Follower(world.settings, begin=begin, take=take)
    assert not follower.follows
    name = topic_name(topics.LOOKUP_RETRIES, world.settings)
    for value in (b"0", b"1"):
        await world.producer.send_and_wait(name, value, key=b"k")
    running = asyncio.create_task(follower.run())
    try:
        await eventually(lambda: taken, what="the record after the one that raised")
        assert (follower.follows, begun) == (True, 2)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_part_that_fell_silent_or_restarts_is_told(world: World) -> None:
    now = datetime.now(UTC)
    starts = tuple(now - timedelta(seconds=ago) for ago in (9_000, 200, 150, 100, 50))
    restarting = PartStatus(
        role="gate",
        instance="9",
        pid=1,
        state="running",
        active=True,
        started_at=starts[-1],
        seen_at=now,
        starts=starts,
        last_end="ended by OverflowError",
    )
    silent = restarting.model_copy(
        update={"instance": "8", "starts": (), "seen_at": now - timedelta(seconds=16), "last_end": None}
    )
    ahead = silent.model_copy(update={"instance": "7", "seen_at": now + timedelta(hours=5)})
    for part in (restarting, silent, ahead):
        await world.send(topics.PART_STATUS, part.key, part)

    async def states() -> dict[str, str] | None:
        parts = (await world.client.get("/v1/queue")).json()["parts"]
        found = {
            part["instance"]: part["state"] for part in parts if part["role"] == "gate" and part["instance"] in "789"
        }
        return found if len(found) == 3 and found["8"] == "silent" else None

    assert await eventually(states, what="all three parts") == {"9": "restarting", "8": "silent", "7": "running"}
    page = (await world.client.get("/admin")).text
    assert "4 times in 5 minutes: ended by OverflowError" in page

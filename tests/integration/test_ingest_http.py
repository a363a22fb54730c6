"""`POST /v1/uploads` over real HTTP and a real broker: what is stored, what is answered, what is refused."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.local.broker import free_port
from schemas import topics as registry
from schemas.interface import Upload
from schemas.settings import Settings
from schemas.upload_events import UploadOpened
from schemas.uploads import UploadOptions
from services.ingest.chunks import CHUNK_BYTES
from services.ingest.feeder.spool import Spool
from services.ingest.http.role import main
from services.runtime.kafka import topic_name
from tests.integration.ingest_world import World, running, world_of
from tests.support.waiting import eventually

UPLOADS = "/v1/uploads"
CSV = b"name,phone\nAnn,+14155550100\n"


@pytest.fixture
def settings(broker: str, topics: str, tmp_path: Path) -> Settings:
    return Settings(kafka=broker, topic_prefix=topics, data=tmp_path, port=free_port(), max_file_bytes=3_000_000)


@pytest.fixture
async def world(settings: Settings) -> AsyncIterator[World]:
    async with world_of(settings) as world:
        yield world


@asynccontextmanager
async def served(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the web part, once it is ready."""
    async with (
        running(main, settings),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{settings.port}", timeout=30) as client,
    ):
        await eventually(lambda: is_ready(client), what="the web part to be ready", seconds=30)
        yield client


async def is_ready(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/health/ready")).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    async with served(settings) as client:
        yield client


async def opened(world: World, upload_id: str) -> UploadOpened:
    await world.until(lambda: bool(world.events(upload_id, UploadOpened)), "the upload is opened")
    return world.events(upload_id, UploadOpened)[0]


async def test_a_form_with_options_becomes_an_upload(client: httpx.AsyncClient, world: World) -> None:
    fields = {"phone_column": ["phone", "0"], "region": "gb", "priority": "2", "start": "false"}
    answer = await client.post(UPLOADS, data=fields, files={"file": ("my list.csv", CSV, "text/csv")})
    assert answer.status_code == 202
    upload = Upload.model_validate_json(answer.content)
    assert answer.headers["location"] == f"{UPLOADS}/{upload.id}"
    assert int(answer.headers["retry-after"]) >= 1
    assert (upload.name, upload.bytes, upload.state, upload.owner) == ("my list.csv", len(CSV), "pending", "local")
    assert upload.sha256 == hashlib.sha256(CSV).hexdigest()
    event = await opened(world, upload.id)
    assert event.options == UploadOptions(phone_columns=("phone", 0), region="GB", priority=2, start=False)
    assert event.options == upload.options


async def test_a_large_body_is_stored_in_pieces_and_comes_back_whole(
    client: httpx.AsyncClient, world: World, settings: Settings
) -> None:
    content = b"name,phone\n" + os.urandom(1_200_000).hex().encode()
    disposition = {"Content-Disposition": "attachment; filename*=UTF-8''na%C3%AFve.csv"}
    answer = await client.post(UPLOADS, params={"region": "US"}, content=content, headers=disposition)
    assert answer.status_code == 202
    assert answer.json()["name"] == "naïve.csv"
    event = await opened(world, answer.json()["id"])
    assert event.file is not None
    assert event.file.chunks == -(-len(content) // CHUNK_BYTES)
    with Spool(settings) as spool:
        target = spool.folder_of("u", "c") / "file"
        await spool.fetch(event.file, target)
        assert target.read_bytes() == content


async def test_a_browser_without_scripts_is_sent_to_the_page(client: httpx.AsyncClient) -> None:
    for start, ending in (("true", ""), ("false", "/check")):
        form = {"files": {"file": ("a.csv", CSV)}, "data": {"start": start}}
        # Httpx's options are passed through.
        answer = await client.post(UPLOADS, headers={"Accept": "text/html,*/*;q=0.8"}, **form)  # type: ignore[arg-type]
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/uploads/")
        assert answer.headers["location"].endswith(ending)


REFUSED: tuple[tuple[dict[str, Any], int, str], ...] = (
    ({"content": b""}, 422, "empty-file"),
    ({"content": b"%PDF-1.7 ..."}, 415, "not-a-table"),
    ({"content": b"x" * 3_000_001}, 413, "file-too-large"),
    ({"content": b"x" * 5_000_000}, 413, "file-too-large"),
    ({"data": {"colour": "red"}, "files": {"file": ("a", CSV)}}, 422, "wrong-options"),
    ({"files": {"region": (None, b"US")}}, 422, "no-file"),
    ({"params": {"colour": "red"}, "content": CSV}, 422, "wrong-options"),
    ({"data": {"priority": "9"}, "files": {"file": ("a", CSV)}}, 422, "wrong-options"),
    ({"content": CSV, "headers": {"Content-Type": "multipart/form-data"}}, 400, "unreadable-body"),
    ({"content": CSV, "headers": {"Idempotency-Key": "x" * 300}}, 400, "wrong-idempotency-key"),
    ({"content": CSV, "headers": {"Origin": "https://elsewhere.example"}}, 403, "foreign-origin"),
)


async def test_refusals_are_problem_documents_and_open_nothing(
    client: httpx.AsyncClient, world: World, settings: Settings
) -> None:
    for request, status, code in REFUSED:
        answer = await client.post(UPLOADS, **request)
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert (answer.status_code, problem["status"], problem["type"]) == (status, status, f"/problems/{code}")
        assert problem["detail"]
    after = await client.post(UPLOADS, content=CSV)
    await opened(world, after.json()["id"])
    assert len(world.records[topic_name(registry.UPLOAD_EVENTS, settings)]) == 1


async def test_a_browser_without_scripts_gets_refusals_as_a_page(client: httpx.AsyncClient) -> None:
    form = {"files": {"file": ("a.csv", CSV)}, "data": {"<colour>": "red"}}
    # Httpx's options are passed through.
    answer = await client.post(UPLOADS, headers={"Accept": "text/html"}, **form)  # type: ignore[arg-type]
    assert answer.status_code == 422
    assert answer.headers["content-type"].startswith("text/html")
    assert "An option cannot be used" in answer.text
    assert "&lt;colour&gt;" in answer.text
    assert "<colour>" not in answer.text


async def test_an_owner_has_so_many_unfinished_uploads_and_no_more(settings: Settings, world: World) -> None:
    few = settings.model_copy(update={"max_open_uploads": 2, "tokens": {"A": "ann", "B": "bob"}})
    ann, bob = ({"Authorization": f"Bearer {token}"} for token in "AB")
    async with served(few) as client:
        keyed = {**ann, "Idempotency-Key": "k"}
        first = (await client.post(UPLOADS, content=CSV, headers=keyed)).json()["id"]
        await client.post(UPLOADS, content=CSV, headers=ann)
        refused, surplus = await post_until(client, 429, ann)
        assert refused.json()["type"] == "/problems/too-many-open-uploads"
        assert int(refused.headers["retry-after"]) > 0
        assert (await client.post(UPLOADS, content=CSV, headers=keyed)).json()["id"] == first
        assert (await client.post(UPLOADS, content=CSV, headers=bob)).status_code == 202
        for upload_id in (first, *surplus):
            await world.report(upload_id, state="completed")
        await post_until(client, 202, ann)


async def post_until(
    client: httpx.AsyncClient, status: int, headers: dict[str, str]
) -> tuple[httpx.Response, list[str]]:
    """Posts until the web part has read what was written: the answer, and the uploads that were opened till then."""
    surplus: list[str] = []

    async def post() -> httpx.Response | None:
        answer = await client.post(UPLOADS, content=CSV, headers=headers)
        if answer.status_code == status:
            return answer
        if answer.status_code == httpx.codes.ACCEPTED:
            surplus.append(answer.json()["id"])
        return None

    found = await eventually(post, what=f"an answer {status}", seconds=30)
    assert found is not None
    return found, surplus


async def test_a_client_that_goes_away_opens_nothing(
    client: httpx.AsyncClient, world: World, settings: Settings
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", settings.port)
    writer.write(b"POST /v1/uploads HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n" + b"a,1\n" * 250_000)
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    del reader
    after = await client.post(UPLOADS, content=CSV)
    await opened(world, after.json()["id"])
    assert len(world.records[topic_name(registry.UPLOAD_EVENTS, settings)]) == 1


async def test_a_repeated_key_gets_the_first_answer_from_any_replica(
    client: httpx.AsyncClient, world: World, settings: Settings
) -> None:
    key = {"Idempotency-Key": '"order 66"'}
    first = await client.post(UPLOADS, content=CSV, headers=key)
    again = await client.post(UPLOADS, content=CSV, headers=key)
    async with served(settings.model_copy(update={"port": free_port(), "instance": "2"})) as replica:
        elsewhere = await replica.post(UPLOADS, content=CSV, headers=key)
        other_file = await replica.post(UPLOADS, content=CSV + b"Bob,\n", headers=key)
    assert again.json() == elsewhere.json() == first.json()
    assert [a.headers.get("idempotent-replayed") for a in (first, again, elsewhere)] == [None, "true", "true"]
    assert other_file.json()["type"] == "/problems/idempotency-key-reused"
    await opened(world, first.json()["id"])
    assert len(world.records[topic_name(registry.UPLOAD_EVENTS, settings)]) == 1


async def test_of_two_at_the_same_time_with_one_key_the_first_in_the_log_counts(
    client: httpx.AsyncClient, world: World
) -> None:
    answers = await asyncio.gather(
        *(client.post(UPLOADS, content=CSV, headers={"Idempotency-Key": "k"}) for _ in range(4))
    )
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    event = await opened(world, answers[0].json()["id"])
    assert Upload.model_validate_json(answers[0].content).created_at == event.at


async def test_with_tokens_an_upload_belongs_to_the_tokens_owner(settings: Settings, world: World) -> None:
    guarded = settings.model_copy(update={"tokens": {"T": "ann"}})
    async with served(guarded) as client:
        stranger = await client.post(UPLOADS, content=CSV)
        ann = await client.post(UPLOADS, content=CSV, headers={"Authorization": "Bearer T"})
    assert (stranger.status_code, stranger.json()["type"]) == (401, "/problems/not-signed-in")
    assert ann.json()["owner"] == "ann"
    assert (await opened(world, ann.json()["id"])).owner == "ann"

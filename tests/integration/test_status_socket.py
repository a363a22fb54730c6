"""The websocket: one conversation from hello to done, resumable, deaf to other sites and other owners."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.integration.status_world import WAIT_SECONDS, World, running_world
from tests.support.waiting import eventually

Frame = dict[str, Any]


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(broker: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running_world(broker, tmp_path_factory.mktemp("status")) as world:
        yield world


def socket(world: World, upload_id: str, query: str = "", **options: Any) -> connect:
    address = f"{world.url.replace('http', 'ws')}/v1/uploads/{upload_id}/events{query}"
    # The stub wants its own string type.
    return connect(address, subprotocols=["scrub.v1"], proxy=None, **options)  # type: ignore[list-item]


async def next_frame(connection: ClientConnection) -> Frame:
    async with asyncio.timeout(WAIT_SECONDS):
        frame: Frame = json.loads(await connection.recv())
        return frame


async def all_frames(connection: ClientConnection) -> list[Frame]:
    """Every frame until the server closes."""
    frames = []
    try:
        while True:
            frames.append(await next_frame(connection))
    except ConnectionClosed:
        return frames


async def test_a_conversation_goes_from_hello_to_done(world: World) -> None:
    upload_id = await world.open()
    await world.upload(upload_id)
    async with socket(world, upload_id) as connection:
        assert connection.subprotocol == "scrub.v1"
        hello, snapshot = await next_frame(connection), await next_frame(connection)
        assert (hello["type"], snapshot["type"]) == ("hello", "snapshot")
        assert set(hello["data"]) == {"epoch"}
        assert snapshot["data"]["id"] == upload_id
        await world.rows(upload_id, range(1, 6))
        await world.fed(upload_id, 5)
        await world.answer(upload_id, range(1, 6))
        frames = await all_frames(connection)
        assert connection.close_code == 1000
    kinds = [frame["type"] for frame in frames]
    assert kinds[-1] == "done"
    assert kinds.count("done") == 1
    states = [frame["data"] for frame in frames if frame["type"] == "state"]
    assert states[-1]["to"] == "completed"
    rows = {row["row"]: row for frame in frames if frame["type"] == "rows" for row in frame["data"]["items"]}
    assert {number: row["state"] for number, row in rows.items()} == dict.fromkeys(range(1, 6), "answered")
    assert all(set(frame) == {"type", "seq", "ts", "data"} for frame in frames)
    assert frames[-1]["data"]["counts"]["answered"] == 5
    progress = next(frame["data"] for frame in frames if frame["type"] == "progress")
    assert set(progress) == {"counts", "position", "eta", "why"}
    seqs = [frame["seq"] for frame in frames]
    assert seqs == sorted(seqs)


async def test_a_finished_upload_is_told_and_closed_at_once(world: World) -> None:
    upload_id = await world.open()
    await world.fed(upload_id, 0)
    await world.until_state(upload_id, "completed")
    async with socket(world, upload_id) as connection:
        assert [frame["type"] for frame in await all_frames(connection)] == ["hello", "snapshot", "done"]


async def test_a_client_resumes_where_it_was(world: World) -> None:
    upload_id = await world.open()
    await world.rows(upload_id, range(1, 4))
    await world.fed(upload_id, 3)
    await world.upload(upload_id)
    async with socket(world, upload_id) as connection:
        hello = await next_frame(connection)
        snapshot = await next_frame(connection)
    await world.answer(upload_id, range(1, 3))

    async def are_answered() -> bool:
        return bool((await world.upload(upload_id))["counts"]["answered"] >= 2)

    await eventually(are_answered, what="two answers")
    after = f"?after={hello['data']['epoch']}:{snapshot['seq']}"
    async with socket(world, upload_id, after) as connection:
        await next_frame(connection)
        progress, rows = await next_frame(connection), await next_frame(connection)
    assert (progress["type"], rows["type"]) == ("progress", "rows")
    assert progress["data"]["counts"]["answered"] == 2
    assert {row["row"] for row in rows["data"]["items"] if row["state"] == "answered"} == {1, 2}


@pytest.mark.parametrize("after", ["another-epoch:3", "nonsense", ":", "epoch:-1"])
async def test_a_place_that_is_not_held_begins_anew(world: World, after: str) -> None:
    upload_id = await world.open()
    await world.upload(upload_id)
    async with socket(world, upload_id, f"?after={after}") as connection:
        assert [(await next_frame(connection))["type"] for _ in range(2)] == ["hello", "snapshot"]


async def test_another_sites_page_cannot_listen(world: World) -> None:
    upload_id = await world.open()
    await world.upload(upload_id)
    with pytest.raises(InvalidStatus) as refusal:
        async with socket(world, upload_id, origin="https://evil.example"):
            pass
    assert refusal.value.response.status_code == 403
    async with socket(world, upload_id, origin=world.url) as connection:
        assert (await next_frame(connection))["type"] == "hello"


async def test_only_the_owner_can_listen(broker: str, tmp_path: Path) -> None:
    async with running_world(broker, tmp_path, tokens={"ta": "ann", "tb": "bob"}) as world:
        upload_id = await world.open(owner="ann")
        ann, bob = ({"Authorization": f"Bearer {token}"} for token in ("ta", "tb"))
        await world.upload(upload_id, **ann)
        for headers, status in ((None, 401), (bob, 404)):
            with pytest.raises(InvalidStatus) as refusal:
                async with socket(world, upload_id, additional_headers=headers):
                    pass
            assert refusal.value.response.status_code == status
        async with socket(world, upload_id, additional_headers=ann) as connection:
            assert (await next_frame(connection))["type"] == "hello"


async def test_a_deleted_upload_ends_the_conversation(world: World) -> None:
    upload_id = await world.open()
    await world.upload(upload_id)
    async with socket(world, upload_id) as connection:
        await next_frame(connection)
        await world.client.delete(f"/v1/uploads/{upload_id}")
        await all_frames(connection)
        assert connection.close_code == 1001

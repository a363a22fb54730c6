"""Without tokens only this machine's own names are answered, on requests and sockets of every web role."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from deploy.local.broker import free_port
from schemas.settings import Settings
from services.assembler.status.role import build_app as build_status
from services.ingest.http.role import build_app as build_ingest
from services.runtime.web import host_guard, is_own_host, serve
from tests.support.waiting import eventually

OPEN = Settings()
BUILDERS = (build_ingest, build_status)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8000",
        "LocalHost.:8000",
        "scrub.localhost:8000",
        "127.0.0.1",
        "127.0.0.1:8000",
        "127.3.2.1:80",
        "[::1]",
        "[::1]:8000",
    ],
)
def test_names_of_this_machine_are_its_own(host: str) -> None:
    assert is_own_host(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        ":8000",
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "notlocalhost",
        "127.0.0.1.evil.example",
        "192.0.2.7:8000",
        "0.0.0.0",
        "[2001:db8::1]:8000",
        "[",
    ],
)
def test_all_other_names_are_foreign(host: str) -> None:
    assert not is_own_host(host)


@pytest.mark.parametrize("build", BUILDERS)
async def test_every_web_role_refuses_a_foreign_host_without_tokens(build: object) -> None:
    assert callable(build)
    transport = httpx.ASGITransport(build(OPEN))
    async with httpx.AsyncClient(transport=transport, base_url="http://evil.example:8000") as client:
        for method, path in (("GET", "/health/live"), ("POST", "/v1/uploads"), ("GET", "/"), ("GET", "/nowhere")):
            answer = await client.request(method, path)
            assert (answer.status_code, answer.headers["content-type"]) == (403, "application/problem+json")
            assert answer.json()["type"] == "/problems/foreign-host"
            assert "SCRUB_TOKENS" in answer.json()["detail"]
        own = await client.get("http://127.0.0.1:8000/health/live")
        assert own.status_code == 200


@pytest.mark.parametrize("build", BUILDERS)
async def test_with_tokens_any_name_will_do(build: object) -> None:
    assert callable(build)
    transport = httpx.ASGITransport(build(Settings(tokens={"t": "ann"})))
    async with httpx.AsyncClient(transport=transport, base_url="https://scrub.example") as client:
        assert (await client.get("/health/live")).status_code == 200


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A guarded application with one socket, served for real."""

    async def events(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.close()

    settings, stop = Settings(port=free_port()), asyncio.Event()
    app = Starlette(routes=[WebSocketRoute("/events", events)], middleware=host_guard(settings))
    serving = asyncio.create_task(serve(app, settings, stop))
    async with httpx.AsyncClient() as client:
        await eventually(lambda: _listens(client, settings.port), what="an answer", seconds=10)
    yield settings.port
    stop.set()
    await serving


async def _listens(client: httpx.AsyncClient, port: int) -> bool:
    try:
        return bool((await client.get(f"http://127.0.0.1:{port}/")).status_code)
    except httpx.TransportError:
        return False


async def test_a_socket_at_a_foreign_name_is_refused_before_the_handshake(port: int) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        async with connect("ws://evil.example/events", host="127.0.0.1", port=port, proxy=None):
            pass
    assert refusal.value.response.status_code == 403
    assert b"foreign-host" in (refusal.value.response.body or b"")
    async with connect(f"ws://localhost:{port}/events", proxy=None) as connection:
        assert await connection.recv() == "hello"

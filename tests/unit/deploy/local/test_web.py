"""The local web role: one port, two applications, each with the state of its own lifespan."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import websockets
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from deploy.local.broker import free_port
from deploy.local.web import compose
from schemas.settings import Settings
from services.runtime.web import serve
from tests.support.waiting import eventually


def application(name: str, alive: set[str]) -> Starlette:
    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[dict[str, Any]]:
        alive.add(name)
        yield {"name": name}
        alive.remove(name)

    async def answer(request: Request) -> JSONResponse:
        return JSONResponse({"by": request.state.name, "link": str(request.url_for(name).path)})

    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(websocket.state.name)
        await websocket.close()

    routes = [
        Route("/own", answer, name=name),
        WebSocketRoute("/events", socket),
        Route("/{rest:path}", answer, methods=["GET", "POST"]),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


@pytest.fixture
async def address() -> AsyncIterator[str]:
    """Where both are served; checks that both lifespans are entered and left."""
    alive: set[str] = set()
    settings, stop = Settings(port=free_port()), asyncio.Event()
    app = compose(ingest=application("ingest", alive), status=application("status", alive))
    serving = asyncio.create_task(serve(app, settings, stop))
    async with httpx.AsyncClient() as client:
        await eventually(lambda: answers(client, f"http://127.0.0.1:{settings.port}"), what="an answer", seconds=10)
    assert alive == {"ingest", "status"}
    yield f"127.0.0.1:{settings.port}"
    stop.set()
    await serving
    assert alive == set()


async def answers(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).is_success
    except httpx.ConnectError:
        return False


async def test_who_answers(address: str) -> None:
    asked = {
        ("POST", "/v1/uploads"): "ingest",
        ("GET", "/v1/uploads"): "status",
        ("POST", "/v1/uploads/1/start"): "status",
        ("POST", "/v1/uploads/clear"): "status",
        ("GET", "/"): "status",
        ("GET", "/health/ready"): "status",
    }
    async with httpx.AsyncClient(base_url=f"http://{address}") as client:
        answered = {(method, path): (await client.request(method, path)).json() for method, path in asked}
    assert answered == {question: {"by": by, "link": "/own"} for question, by in asked.items()}


async def test_sockets_are_the_assemblers(address: str) -> None:
    async with websockets.connect(f"ws://{address}/events") as socket:
        assert await socket.recv() == "status"

"""The local `web` role: the web applications of ingest and assembler on one port, as behind an ingress elsewhere."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from schemas.settings import Settings
from services.runtime.web import refuse_open_door, serve

_UPLOADS = "/v1/uploads"


def build_app(settings: Settings) -> Starlette:
    """One application in front of both; its lifespan holds theirs."""
    from services.assembler.status.role import build_app as build_status
    from services.ingest.http.role import build_app as build_ingest

    return compose(ingest=build_ingest(settings), status=build_status(settings))


def compose(*, ingest: Starlette, status: Starlette) -> Starlette:
    """`POST /v1/uploads` goes to `ingest`, everything else to `status`; each sees the state of its own lifespan."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[dict[str, Any]]:
        async with (
            ingest.router.lifespan_context(ingest) as ingest_state,
            status.router.lifespan_context(status) as status_state,
        ):
            yield {"ingest": ingest_state or {}, "status": status_state or {}}

    app = Starlette(lifespan=lifespan)
    # Not a route: the pattern of a mount takes no path that has a line break in it.
    app.router.default = _choosing(ingest, status)
    return app


def _choosing(ingest: ASGIApp, status: ASGIApp) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        states: Mapping[str, Mapping[str, Any]] = scope["state"]
        stores = scope["type"] == "http" and scope["method"] == "POST" and scope["path"] == _UPLOADS
        name, chosen = ("ingest", ingest) if stores else ("status", status)
        inner = {key: value for key, value in scope.items() if key != "router"}  # links are the chosen one's own
        await chosen({**inner, "state": dict(states[name])}, receive, send)

    return app


async def main(settings: Settings, stop: asyncio.Event) -> None:
    """Serves both until told to stop.

    Raises:
        RefusedToStart: an address that others can reach is bound without tokens.
    """
    refuse_open_door(settings)
    await serve(build_app(settings), settings, stop)

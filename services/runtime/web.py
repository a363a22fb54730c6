"""Serves HTTP for a role: bound to its address until told to stop, and never open to strangers by accident."""

import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schemas.interface import Problem
from schemas.settings import Settings
from services.runtime.identity import LOOPBACK, tokens_are_set
from services.runtime.problems import ProblemError, problem_response
from services.runtime.process import RefusedToStart

GRACE_SECONDS = 10
log = logging.getLogger(__name__)


class _Server(uvicorn.Server):
    """Leaves signals to the process: its stop event is the one way to stop."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except SystemExit:
            raise RefusedToStart(
                f"The web server could not start on {self.config.host}:{self.config.port}; the line above says why."
            ) from None
        log.info("listening on %s, port %d", self.config.host, self.config.port)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(app: Starlette, settings: Settings, stop: asyncio.Event) -> None:
    """Serves the application on `SCRUB_HOST` and `SCRUB_PORT`; requests under way get some seconds at the end."""
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    server.should_exit = True
    await serving


def refuse_open_door(settings: Settings) -> None:
    """Raises RefusedToStart when others could reach the service and no token would keep them out."""
    if not tokens_are_set(settings) and settings.host not in LOOPBACK:
        raise RefusedToStart(
            f"SCRUB_HOST is {settings.host}, which others can reach, but no tokens are set: "
            "set SCRUB_TOKENS or SCRUB_ADMIN_TOKENS, or bind 127.0.0.1."
        )


class OwnHostOnly:
    """Answers requests and sockets addressed to this machine, and refuses all others.

    Where loopback is the only protection, a name of another site that was made to point here (DNS rebinding) would let
    that site's pages read everything: to the browser they and we are then one origin. Only `Host` tells.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and not is_own_host(HTTPConnection(scope).headers.get("host", "")):
            await problem_response(_FOREIGN_HOST)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


_FOREIGN_HOST = Problem(
    type="/problems/foreign-host",
    title="This is not the address of this service",
    status=403,
    detail="Without tokens it answers only at loopback addresses: open it as localhost or 127.0.0.1 with its port. "
    "To serve it under another name, set SCRUB_TOKENS or SCRUB_ADMIN_TOKENS.",
    errors=(),
)


def host_guard(settings: Settings) -> list[Middleware]:
    """The middleware of every application that serves without tokens; none where tokens keep strangers out."""
    return [] if tokens_are_set(settings) else [Middleware(OwnHostOnly)]


def is_own_host(host: str) -> bool:
    """Whether a `Host` header names this machine: `localhost`, a name below it (RFC 6761), or a loopback address."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    name = name.removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def refuse_foreign_origin(connection: HTTPConnection) -> None:
    """Raises ProblemError 403 when another site's page sent this: browsers say so in `Origin`, programs send none."""
    origin = connection.headers.get("origin")
    if origin is None or _host_in(origin) == connection.headers.get("host"):
        return
    raise ProblemError(
        403, "foreign-origin", "Sent by another site", "Only this service's own pages may send this from a browser."
    )


def _host_in(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


class BoundedBody:
    """Ends a request whose body is longer than any that this application takes, whatever would have read it."""

    def __init__(self, app: ASGIApp, most_bytes: int) -> None:
        self._app = app
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        taken_bytes = 0

        async def receive_some() -> Message:
            nonlocal taken_bytes
            message = await receive()
            taken_bytes += len(message.get("body") or b"")
            if message["type"] == "http.request" and taken_bytes > self._most_bytes:
                raise ProblemError(
                    413, "body-too-large", "The body is too large", f"Send at most {self._most_bytes} bytes."
                )
            return message

        await self._app(scope, receive_some if scope["type"] == "http" else receive, send)

"""How a role serves HTTP: bound to its address until told to stop, and never open to strangers by accident."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.requests import HTTPConnection

from schemas.settings import Settings
from services.runtime.identity import LOOPBACK, tokens_are_set
from services.runtime.problems import ProblemError
from services.runtime.process import RefusedToStart

GRACE_SECONDS = 10


class _Server(uvicorn.Server):
    """Leaves signals to the process: its stop event is the one way to stop."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except SystemExit:
            raise RefusedToStart(
                f"The web server could not start on {self.config.host}:{self.config.port}; the line above says why."
            ) from None

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


def refuse_foreign_origin(connection: HTTPConnection) -> None:
    """Raises ProblemError 403 when another site's page sent this: browsers say so in `Origin`, programs send none."""
    origin = connection.headers.get("origin")
    if origin is None or urlsplit(origin).netloc == connection.headers.get("host"):
        return
    raise ProblemError(
        403, "foreign-origin", "Sent by another site", "Only this service's own pages may send this from a browser."
    )

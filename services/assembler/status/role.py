"""Composes the status application: what it reads and writes, its routes, and how long everything lives."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TypedDict

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect

from schemas.settings import Settings
from services.assembler.status.api import audit as audit_calls
from services.assembler.status.api import bad_records as bad_record_calls
from services.assembler.status.api import dead_letters as dead_letter_calls
from services.assembler.status.api import downloads, health, metrics, openapi, sockets, upload_commands, uploads
from services.assembler.status.api import forget as forgetting
from services.assembler.status.api import queue as queue_calls
from services.assembler.status.api.calls import routes_of
from services.assembler.status.backend import Backend
from services.assembler.status.bad_record_log import BadRecords
from services.assembler.status.following import Follower
from services.assembler.status.live import LiveHub
from services.assembler.status.pages import admin as admin_page
from services.assembler.status.pages import check as check_page
from services.assembler.status.pages import signin
from services.assembler.status.pages import uploads as pages
from services.assembler.status.pages.rendering import Renderer
from services.assembler.store import meta
from services.assembler.store.connections import DatabaseError
from services.assembler.store.dialect import connect, sqlite_file
from services.runtime.heartbeat import Heartbeat, PartHealth
from services.runtime.kafka import make_producer, started
from services.runtime.problems import ProblemError, on_crash, on_disconnect, on_http_exception, on_problem
from services.runtime.process import RefusedToStart
from services.runtime.web import BoundedBody, host_guard, refuse_open_door, serve

CALLS = (
    *uploads.CALLS,
    *upload_commands.CALLS,
    *downloads.CALLS,
    *queue_calls.CALLS,
    *dead_letter_calls.CALLS,
    *bad_record_calls.CALLS,
    *forgetting.CALLS,
    *audit_calls.CALLS,
)
"""Every JSON call of the status role; routes and OpenAPI are made from it."""
MOST_BODY_BYTES = 64 * 1024
"""Of a JSON body and of a form: files go to the ingest service."""


class WebState(TypedDict):
    """What the lifespan makes; Starlette hands it to every request and socket."""

    backend: Backend
    renderer: Renderer


def build_app(settings: Settings) -> Starlette:
    """The application, with routes and a lifespan that owns the database engine and the Kafka clients."""
    renderer = Renderer(settings)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[WebState]:
        file = sqlite_file(settings.database_url)
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
        engine = connect(settings.database_url)
        try:
            epoch = await asyncio.to_thread(_prepared, engine)
            hub, bad_records = LiveHub(settings), BadRecords(settings)
            followers = (hub.follower, bad_records.follower)
            async with (
                _running(followers),
                started(make_producer(settings)) as producer,
                Heartbeat(producer, settings, role="status", health=lambda: _health(followers)),
            ):
                backend = Backend(settings, engine, producer, hub, bad_records, epoch)
                yield WebState(backend=backend, renderer=renderer)
        finally:
            engine.dispose()

    app = Starlette(
        routes=[
            *routes_of(CALLS),
            *openapi.routes_for(CALLS),
            *sockets.ROUTES,
            *health.ROUTES,
            *metrics.ROUTES,
            *signin.ROUTES,
            *admin_page.ROUTES,
            *renderer.routes(),
            *check_page.ROUTES,
            *pages.ROUTES,
        ],
        lifespan=lifespan,
        middleware=[*host_guard(settings), Middleware(BoundedBody, MOST_BODY_BYTES)],
        exception_handlers={
            ProblemError: on_problem,
            HTTPException: on_http_exception,
            ClientDisconnect: on_disconnect,
            Exception: on_crash,
        },
    )
    # Starlette would lead from an address that ends with a slash to the same without, and repeat what stands in it.
    app.router.redirect_slashes = False
    return app


def _prepared(engine: object) -> str:
    try:
        return meta.prepare(engine)  # type: ignore[arg-type]
    except meta.WrongDatabase as refusal:
        raise RefusedToStart(str(refusal)) from None
    except DatabaseError as error:
        raise RefusedToStart(f"The database of SCRUB_DATABASE does not answer: {type(error).__name__}.") from None


@asynccontextmanager
async def _running(followers: Iterable[Follower]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(follower.run()) for follower in followers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _health(followers: Iterable[Follower]) -> PartHealth:
    if not all(follower.caught_up.is_set() for follower in followers):
        return PartHealth(state="starting", active=False)
    if not all(follower.follows for follower in followers):
        return PartHealth(state="stuck", active=False, error="the live news have stopped")
    return PartHealth(state="running", active=True)


async def main(settings: Settings, stop: asyncio.Event) -> None:
    """Serves the application alone until told to stop.

    Raises:
        RefusedToStart: an address that others can reach is bound without tokens.
    """
    refuse_open_door(settings)
    await serve(build_app(settings), settings, stop)

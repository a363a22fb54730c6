"""Composes the status application: its database, its Kafka clients, its routes, and how long each of them lives."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final, TypedDict

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute

from schemas.settings import Settings
from services.assembler.status.api import (
    audit,
    bad_records,
    dead_letters,
    downloads,
    forget,
    health,
    metrics,
    openapi,
    queue,
    sockets,
    upload_commands,
    uploads,
)
from services.assembler.status.api.endpoints import routes_of
from services.assembler.status.backend import Backend, build_backend
from services.assembler.status.bad_record_log import BadRecordLog
from services.assembler.status.database_reader import DatabaseReader
from services.assembler.status.following import Follower
from services.assembler.status.live import LiveHub
from services.assembler.status.pages import admin as admin_page
from services.assembler.status.pages import check as check_page
from services.assembler.status.pages import docs as docs_page
from services.assembler.status.pages import signin
from services.assembler.status.pages import uploads as upload_pages
from services.assembler.status.pages.rendering import Renderer
from services.assembler.store import meta
from services.assembler.store.connections import DatabaseError, Engine
from services.assembler.store.dialect import connect, sqlite_file
from services.runtime.heartbeat import Heartbeat, PartHealth
from services.runtime.kafka import make_producer, started
from services.runtime.problems import ProblemError, on_crash, on_disconnect, on_http_exception, on_problem
from services.runtime.process import RefusedToStart
from services.runtime.web import BoundedBody, host_guard, refuse_open_door, serve

ENDPOINTS: Final = (
    *uploads.ENDPOINTS,
    *upload_commands.ENDPOINTS,
    *downloads.ENDPOINTS,
    *queue.ENDPOINTS,
    *dead_letters.ENDPOINTS,
    *bad_records.ENDPOINTS,
    *forget.ENDPOINTS,
    *audit.ENDPOINTS,
)
"""Every JSON endpoint of the status role; routes and OpenAPI are made from it."""
MOST_BODY_BYTES: Final = 64 * 1024
"""The largest JSON body or form; files go to the ingest service."""


class StatusState(TypedDict):
    """Made by the lifespan; Starlette hands it to every request and socket."""

    backend: Backend
    renderer: Renderer


def build_app(settings: Settings) -> Starlette:
    """The application, with routes and a lifespan that owns the database engine and the Kafka clients."""
    renderer = Renderer(settings)
    app = Starlette(
        routes=_routes(renderer),
        lifespan=lambda _app: _lifespan(settings, renderer),
        middleware=[*host_guard(settings), Middleware(BoundedBody, MOST_BODY_BYTES)],
        exception_handlers={
            ProblemError: on_problem,
            HTTPException: on_http_exception,
            ClientDisconnect: on_disconnect,
            Exception: on_crash,
        },
    )
    # No redirect from a path with a trailing slash to the path without: it would repeat a phone that the path may hold.
    app.router.redirect_slashes = False
    return app


def _routes(renderer: Renderer) -> list[BaseRoute]:
    described = openapi.document(ENDPOINTS)
    return [
        *routes_of(ENDPOINTS),
        *openapi.routes_for(described),
        *docs_page.routes_for(described),
        *sockets.ROUTES,
        *health.ROUTES,
        *metrics.ROUTES,
        *signin.ROUTES,
        *admin_page.ROUTES,
        *renderer.routes(),
        *check_page.ROUTES,
        *upload_pages.ROUTES,
    ]


@asynccontextmanager
async def _lifespan(settings: Settings, renderer: Renderer) -> AsyncIterator[StatusState]:
    file = sqlite_file(settings.database_url)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
    engine = connect(settings.database_url)
    try:
        database = DatabaseReader(engine, epoch=await asyncio.to_thread(_prepared, engine))
        hub, bad_record_log = LiveHub(settings), BadRecordLog(settings)
        followers = (hub.follower, bad_record_log.follower)
        async with (
            _running(followers),
            started(make_producer(settings)) as producer,
            Heartbeat(producer, settings, role="status", health=lambda: _health(followers)),
        ):
            backend = build_backend(settings, database=database, producer=producer, hub=hub, bad_records=bad_record_log)
            yield StatusState(backend=backend, renderer=renderer)
    finally:
        engine.dispose()


def _prepared(engine: Engine) -> str:
    try:
        return meta.prepare(engine)
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
    """Serves the application alone until `stop` is set.

    Raises:
        RefusedToStart: an address that others can reach is bound without tokens.
    """
    refuse_open_door(settings)
    await serve(build_app(settings), settings, stop)

"""Runs the web role of ingest: `POST /v1/uploads` stores a file and answers 202 once Kafka has all of it."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypedDict

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from schemas import topics
from schemas.codec import encode
from schemas.settings import Settings
from services.ingest.chunks import chunk_bytes
from services.ingest.http.opened_log import OpenedLog, following_opened_log
from services.ingest.http.opening import fresh_upload
from services.ingest.http.receiving import Received, UploadReceiver
from services.ingest.http.record_limit import most_record_bytes
from services.ingest.http.refusal_page import refusal_page
from services.ingest.http.storing import FileStore
from services.ingest.sending import Sender
from services.runtime.heartbeat import Heartbeat, PartHealth
from services.runtime.identity import identify
from services.runtime.kafka import MAX_BATCH_BYTES, make_producer, started, topic_name
from services.runtime.problems import ProblemError, on_crash, on_http_exception, on_problem
from services.runtime.web import host_guard, refuse_foreign_origin, refuse_open_door, serve

CHUNKS_IN_MEMORY = 32
"""Over all uploads of this process: 32 × 900 kB, however many people upload at once."""
READY_SECONDS = 2.0
log = logging.getLogger(__name__)


class HttpState(TypedDict):
    """The state that the lifespan creates. Starlette passes it to every request."""

    receiver: UploadReceiver


def build_app(settings: Settings) -> Starlette:
    """The application, with routes and a lifespan that owns the Kafka clients."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[HttpState]:
        topic = topic_name(topics.UPLOAD_FILES, settings)
        most_bytes = await most_record_bytes(topic, settings)
        async with (
            Sender(settings, batch_bytes=min(MAX_BATCH_BYTES, chunk_bytes(most_bytes))) as sender,
            started(make_producer(settings)) as producer,
            following_opened_log(settings) as opened_log,
            Heartbeat(producer, settings, role="http", health=lambda: _health(opened_log)),
        ):
            file_store = FileStore(
                sender,
                topic,
                asyncio.Semaphore(CHUNKS_IN_MEMORY),
                settings.max_file_bytes,
                chunk_bytes=chunk_bytes(most_bytes),
            )
            yield HttpState(receiver=UploadReceiver(settings, file_store, opened_log))

    app = Starlette(
        routes=[
            Route("/v1/uploads", create_upload, methods=["POST"]),
            Route("/health/live", alive, methods=["GET"]),
            Route("/health/startup", alive, methods=["GET"]),
            Route("/health/ready", ready, methods=["GET"]),
        ],
        lifespan=lifespan,
        middleware=host_guard(settings),
        exception_handlers={ProblemError: on_problem, HTTPException: on_http_exception, Exception: on_crash},
    )
    # No redirect from a path with a trailing slash: it would echo the caller's path.
    app.router.redirect_slashes = False
    return app


def _health(opened_log: OpenedLog) -> PartHealth:
    error = (
        None if opened_log.is_following else "upload-events cannot be read: requests with an Idempotency-Key time out"
    )
    return PartHealth(state="running", active=True, error=error)


async def main(settings: Settings, stop: asyncio.Event) -> None:
    """Serve the application until `stop` is set.

    Raises:
        RefusedToStart: the server would listen on a public address without tokens.
    """
    refuse_open_door(settings)
    await serve(build_app(settings), settings, stop)


async def create_upload(request: Request) -> Response:
    """Store the file of the request and answer with its upload. Redirect a browser to its page."""
    receiver: UploadReceiver = request.state.receiver
    refuse_foreign_origin(request)
    identity = identify(request, receiver.settings)
    try:
        received = await receiver.receive(request, owner=identity.owner)
    except (KafkaError, TimeoutError) as error:
        log.warning("a file could not be stored: %s", type(error).__name__)
        raise ProblemError(
            503,
            "storage-not-available",
            "The file could not be stored",
            "The message log does not answer at the moment. Send the file again; with an Idempotency-Key that is safe "
            "even if it was stored after all.",
            headers={"Retry-After": "10"},
        ) from None
    except ProblemError as refusal:
        if _wants_page(request):
            return HTMLResponse(refusal_page(refusal.problem), refusal.problem.status, refusal.headers)
        raise
    except ClientDisconnect:
        # The client is gone. The stored chunks expire, and no upload was opened.
        return Response(status_code=400)
    return _answer(request, receiver.settings, received)


def _answer(request: Request, settings: Settings, received: Received) -> Response:
    opened = received.opened
    upload = fresh_upload(opened, keep_days=settings.keep_days)
    if _wants_page(request):
        page = upload.links.page if opened.options.start else f"{upload.links.page}/check"
        return RedirectResponse(page, 303)
    headers = {"Location": upload.links.self, "Retry-After": "1"}
    if received.repeated:
        headers["Idempotent-Replayed"] = "true"
    return Response(encode(upload), 202, headers, "application/json")


def _wants_page(request: Request) -> bool:
    """Whether a browser sent the form itself: scripts and programs do not ask for HTML."""
    return "text/html" in request.headers.get("accept", "")


async def alive(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def ready(request: Request) -> Response:
    """200 while Kafka answers and the role can recognise repeated uploads."""
    receiver: UploadReceiver = request.state.receiver
    if not await _kafka_answers(receiver.file_store.sender.producer):
        return JSONResponse({"status": "kafka does not answer"}, 503)
    if not receiver.opened_log.is_following:
        return JSONResponse({"status": "upload-events cannot be read"}, 503)
    return JSONResponse({"status": "ok"})


async def _kafka_answers(producer: AIOKafkaProducer) -> bool:
    try:
        async with asyncio.timeout(READY_SECONDS):
            return bool(await producer.client.force_metadata_update())
    except (TimeoutError, KafkaError):
        return False

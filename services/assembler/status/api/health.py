"""Tells orchestrators whether the process lives, can serve, and has started."""

from aiokafka.errors import KafkaError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.assembler.status.backend import Backend
from services.assembler.store.connections import ping
from services.runtime.problems import ProblemError


async def live(_request: Request) -> Response:
    """The event loop answers."""
    return JSONResponse({"status": "ok"})


async def startup(request: Request) -> Response:
    """The parts' present states have been read once."""
    backend: Backend = request.state.backend
    if all(follower.caught_up.is_set() for follower in (backend.hub.follower, backend.bad_records.follower)):
        return JSONResponse({"status": "ok"})
    return JSONResponse({"status": "reading the present state from Kafka"}, 503)


async def ready(request: Request) -> Response:
    """Database and Kafka answer now, and what the parts say is heard."""
    backend: Backend = request.state.backend
    try:
        await backend.read(ping)
        await backend.producer.client.fetch_all_metadata()
    except ProblemError:
        return JSONResponse({"status": "the database does not answer"}, 503)
    except KafkaError:
        return JSONResponse({"status": "kafka does not answer"}, 503)
    if not (backend.hub.follower.follows and backend.bad_records.follower.follows):
        return JSONResponse({"status": "the live news have stopped"}, 503)
    return await startup(request)


ROUTES = [
    Route("/health/live", live, methods=["GET"]),
    Route("/health/ready", ready, methods=["GET"]),
    Route("/health/startup", startup, methods=["GET"]),
]

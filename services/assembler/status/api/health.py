"""Answers orchestrators: whether the process lives, whether it can serve, and whether it has started."""

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
    """The present state has been read from Kafka once."""
    backend: Backend = request.state.backend
    if all(follower.caught_up.is_set() for follower in (backend.hub.follower, backend.bad_records.follower)):
        return JSONResponse({"status": "ok"})
    return JSONResponse({"status": "reading the present state from Kafka"}, 503)


async def ready(request: Request) -> Response:
    """Database and Kafka answer now, and the followers read what other processes write."""
    backend: Backend = request.state.backend
    try:
        await backend.database.read(ping)
        await backend.writer.check_connection()
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

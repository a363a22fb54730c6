"""Declares a JSON call once: path, models that validate it, answers; route and OpenAPI entry both come of it."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from schemas.codec import encode
from services.assembler.status.backend import Backend
from services.assembler.status.inputs import Nothing, idempotency_key, parse_body, parse_query
from services.runtime.identity import Identity, identify, require_admin
from services.runtime.problems import ProblemError
from services.runtime.web import refuse_foreign_origin

Q = TypeVar("Q", bound=BaseModel)
B = TypeVar("B", bound=BaseModel)
Method = Literal["GET", "POST", "PATCH", "DELETE"]


@dataclass(frozen=True, slots=True)
class Ask(Generic[Q, B]):
    """A validated call."""

    backend: Backend
    identity: Identity
    request: Request
    query: Q
    body: B
    idempotency_key: str | None = None

    @property
    def upload_id(self) -> str:
        return str(self.request.path_params["upload_id"])


Handler = Callable[[Ask[Any, Any]], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Call:
    """One JSON call. `answers`: status → (what it means, model of the body or a media type).

    `idempotent`: repetitions with the same `Idempotency-Key` have one effect. `problems`: statuses of refusals beside
    those that any call of its method can have.
    """

    method: Method
    path: str
    handler: Handler
    summary: str
    answers: Mapping[int, tuple[str, type[BaseModel] | str | None]]
    query: type[BaseModel] = Nothing
    body: type[BaseModel] = Nothing
    admin: bool = False
    idempotent: bool = False
    problems: tuple[int, ...] = ()

    async def __call__(self, request: Request) -> Response:
        backend: Backend = request.state.backend
        if self.method != "GET":
            refuse_foreign_origin(request)
        identity = identify(request, backend.settings)
        if self.admin:
            require_admin(identity)
        query = parse_query(self.query, request)
        body = await parse_body(self.body, request) if self.method != "GET" else Nothing()
        key = idempotency_key(request) if self.idempotent else None
        return await self.handler(Ask(backend, identity, request, query, body, key))


ELSEWHERE: Mapping[str, tuple[str, ...]] = {"/v1/uploads": ("POST",)}
"""Methods that the ingest service answers on the same origin; a request for one that comes here was led wrong."""


def routes_of(calls: Iterable[Call]) -> list[Route]:
    """One route a path, so that a wrong method is answered 405 with all the right ones."""
    by_path: dict[str, dict[str, Call]] = {}
    for call in calls:
        by_path.setdefault(call.path, {})[call.method] = call
    # A fixed path goes before one with an id in the same place.
    paths = sorted(by_path, key=lambda path: ("{" in path, path))
    return [
        (Route if "{" in path else _FixedRoute)(
            path, _endpoint_of(by_path[path]), methods=[*by_path[path], *ELSEWHERE.get(path, ())]
        )
        for path in paths
    ]


class _FixedRoute(Route):
    """A path that stays what it is for every method: `/v1/uploads/clear` is no upload for those that it has not."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        return (Match.FULL if match is Match.PARTIAL else match), found


def _endpoint_of(methods: Mapping[str, Call]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        call = methods.get("GET" if request.method == "HEAD" else request.method)
        if call is None:
            raise ProblemError(
                421, "misdirected", "Files are taken elsewhere", "The ingest service takes files; see the deployment."
            )
        return await call(request)

    return endpoint


def json_answer(message: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A message as JSON that no cache may keep."""
    return Response(encode(message), status, {"Cache-Control": "no-store"} | dict(headers or {}), "application/json")

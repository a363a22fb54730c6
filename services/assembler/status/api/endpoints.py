"""Declares each JSON endpoint once: path, models that validate it, answers; route and OpenAPI derive from it."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeVar

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
class ApiRequest(Generic[Q, B]):
    """A validated request, and who sends it."""

    backend: Backend
    identity: Identity
    http: Request
    query: Q
    body: B
    idempotency_key: str | None = None

    @property
    def upload_id(self) -> str:
        return str(self.http.path_params["upload_id"])


EndpointHandler = Callable[[ApiRequest[Any, Any]], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path with one method. `answers`: status → (its meaning, model of the body or a media type).

    `idempotent`: repetitions with the same `Idempotency-Key` have one effect. `problems`: statuses of refusals beside
    those that any endpoint with its method can have.
    """

    method: Method
    path: str
    handler: EndpointHandler
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
        return await self.handler(ApiRequest(backend, identity, request, query, body, key))


ELSEWHERE: Final[Mapping[str, tuple[str, ...]]] = {"/v1/uploads": ("POST",)}
"""Methods that the ingest service answers on the same origin; such a request reaches this service by a wrong route."""


def routes_of(endpoints: Iterable[Endpoint]) -> list[Route]:
    """One route per path, so that a wrong method is answered 405 with all the right ones."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    for endpoint in endpoints:
        by_path.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    # A fixed path comes before a path with an id in the same place.
    paths = sorted(by_path, key=lambda path: ("{" in path, path))
    return [
        (Route if "{" in path else _FixedRoute)(
            path, _dispatch(by_path[path]), methods=[*by_path[path], *ELSEWHERE.get(path, ())]
        )
        for path in paths
    ]


class _FixedRoute(Route):
    """A path that matches for every method, so that `GET /v1/uploads/clear` does not look for an upload `clear`."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        return (Match.FULL if match is Match.PARTIAL else match), found


def _dispatch(methods: Mapping[str, Endpoint]) -> Callable[[Request], Awaitable[Response]]:
    async def dispatch(request: Request) -> Response:
        endpoint = methods.get("GET" if request.method == "HEAD" else request.method)
        if endpoint is None:
            raise ProblemError(
                421, "misdirected", "Files are taken elsewhere", "The ingest service takes files; see the deployment."
            )
        return await endpoint(request)

    return dispatch


def json_answer(message: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A message as JSON that no cache may keep."""
    return Response(encode(message), status, {"Cache-Control": "no-store"} | dict(headers or {}), "application/json")

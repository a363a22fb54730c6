"""Declares a JSON call once: path, models that validate it, answers; route and OpenAPI entry both come of it."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from schemas.codec import encode
from schemas.interface import ErrorItem
from services.assembler.web.backend import Backend
from services.runtime.identity import Identity, identify, require_admin
from services.runtime.problems import ProblemError
from services.runtime.web import refuse_foreign_origin

Q = TypeVar("Q", bound=BaseModel)
B = TypeVar("B", bound=BaseModel)
Method = Literal["GET", "POST", "PATCH", "DELETE"]
MOST_BODY_BYTES = 64 * 1024


class Input(BaseModel):
    """The base of query and body models: a name that is not known is an error, not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Nothing(Input):
    """A call without parameters, or without a body."""


@dataclass(frozen=True, slots=True)
class Ask(Generic[Q, B]):
    """A validated call."""

    backend: Backend
    identity: Identity
    request: Request
    query: Q
    body: B

    @property
    def upload_id(self) -> str:
        return str(self.request.path_params["upload_id"])


Handler = Callable[[Ask[Any, Any]], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Call:
    """One JSON call. `answers`: status → (what it means, model of the body or a media type)."""

    method: Method
    path: str
    handler: Handler
    summary: str
    answers: Mapping[int, tuple[str, type[BaseModel] | str | None]]
    query: type[BaseModel] = Nothing
    body: type[BaseModel] = Nothing
    admin: bool = False
    problems: tuple[int, ...] = field(default=())

    async def __call__(self, request: Request) -> Response:
        backend: Backend = request.state.backend
        if self.method != "GET":
            refuse_foreign_origin(request)
        identity = identify(request, backend.settings)
        if self.admin:
            require_admin(identity)
        query = parse_query(self.query, request)
        body = await parse_body(self.body, request) if self.method != "GET" else Nothing()
        return await self.handler(Ask(backend, identity, request, query, body))


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
        Route(path, _endpoint_of(by_path[path]), methods=[*by_path[path], *ELSEWHERE.get(path, ())]) for path in paths
    ]


def _endpoint_of(methods: Mapping[str, Call]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        call = methods.get("GET" if request.method == "HEAD" else request.method)
        if call is None:
            raise ProblemError(
                421, "misdirected", "Files are taken elsewhere", "The ingest service takes files; see the deployment."
            )
        return await call(request)

    return endpoint


def parse_query(model: type[Q], request: Request) -> Q:
    """The query parameters. A parameter that is a list may be repeated or comma-separated.

    Raises:
        ProblemError: 400 with an entry for each wrong one.
    """
    values: dict[str, Any] = {}
    for name in request.query_params:
        given = request.query_params.getlist(name)
        wanted = model.model_fields.get(name) or _aliased(model, name)
        if wanted is not None and "tuple" in str(wanted.annotation):
            values[name] = [part for text in given for part in text.split(",") if part]
        elif len(given) > 1:
            raise _wrong_items((ErrorItem(code="repeated", column=name, detail=f"`{name}` is given twice"),))
        else:
            values[name] = given[0]
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _wrong_input(error) from None


def _aliased(model: type[BaseModel], name: str) -> Any:
    return next((one for one in model.model_fields.values() if one.alias == name), None)


async def parse_body(model: type[B], request: Request) -> B:
    """The JSON body; an empty one is as good as `{}`.

    Raises:
        ProblemError: 400 when it is no JSON object of the model's shape, 413 when it is far too long.
    """
    raw = b""
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MOST_BODY_BYTES:
            raise ProblemError(413, "body-too-large", "The body is too large", f"Send at most {MOST_BODY_BYTES} bytes.")
    try:
        return model.model_validate_json(raw.strip() or b"{}", strict=True)
    except ValidationError as error:
        if error.errors(include_url=False)[0]["type"] in ("json_invalid", "model_type"):
            raise ProblemError(
                400, "not-json", "The body is not a JSON object", "Send a JSON object, or no body."
            ) from None
        raise _wrong_input(error) from None


def _wrong_input(error: ValidationError) -> ProblemError:
    items = tuple(
        ErrorItem(code=one["type"], column=".".join(str(part) for part in one["loc"]), detail=one["msg"])
        for one in error.errors(include_url=False, include_context=False, include_input=False)
    )
    return _wrong_items(items)


def _wrong_items(items: tuple[ErrorItem, ...]) -> ProblemError:
    sentence = "; ".join(f"{item.column}: {item.detail}" for item in items)
    return ProblemError(400, "wrong-input", "Something in the request is wrong", sentence, errors=items)


def json_answer(message: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A message as JSON that no cache may keep."""
    return Response(encode(message), status, {"Cache-Control": "no-store"} | dict(headers or {}), "application/json")

"""The page for developers: the OpenAPI document, made readable."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.assembler.status.pages.own_pages import own_origin
from services.assembler.status.pages.rendering import Renderer
from services.runtime.identity import identify
from services.runtime.problems import ProblemError


def routes_for(described: dict[str, Any]) -> list[Route]:
    """`/docs` for this OpenAPI document; nobody needs to sign in to read it."""

    async def docs(request: Request) -> Response:
        renderer: Renderer = request.state.renderer
        try:
            who = identify(request, request.state.backend.settings)
        except ProblemError:
            who = None
        origin = own_origin(request.scope["scheme"], request.headers.get("host", ""))
        return renderer.page("docs.html", who=who, place="docs", document=described, origin=origin)

    return [Route("/docs", docs, methods=["GET"])]

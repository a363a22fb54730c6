"""Makes an endpoint of a function that draws a page or takes a form: signs people in, shows problems as pages."""

from collections.abc import Awaitable, Callable
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from services.assembler.status.backend import Backend
from services.assembler.status.pages.own_pages import own_page
from services.assembler.status.pages.rendering import Renderer
from services.runtime.identity import Identity, identify
from services.runtime.problems import ProblemError
from services.runtime.web import refuse_foreign_origin


def page_endpoint(
    draw: Callable[[Request, Backend, Identity, Renderer], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint for signed-in people. Others are redirected to the sign-in form; problems are shown in HTML."""

    async def endpoint(request: Request) -> Response:
        backend: Backend = request.state.backend
        renderer: Renderer = request.state.renderer
        try:
            identity = identify(request, backend.settings)
        except ProblemError:
            return RedirectResponse(f"/sign-in?{urlencode({'next': _own_page(request)})}", 303)
        try:
            if request.method == "POST":
                refuse_foreign_origin(request)
            return await draw(request, backend, identity, renderer)
        except ProblemError as refusal:
            return renderer.page(
                "problem.html",
                who=identity,
                place="",
                status=refusal.problem.status,
                headers=refusal.headers,
                problem=refusal.problem,
            )

    return endpoint


def _own_page(request: Request) -> str:
    """The page to return to after signing in. A form that was sent is not sent again."""
    query = request.scope["query_string"].decode("latin-1")
    return own_page(f"{request.scope['path']}?{query}") if request.method == "GET" else "/"

"""The sign-in form: a token becomes an HttpOnly cookie that no other site can send."""

from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from services.assembler.status.backend import Backend
from services.assembler.status.inputs import read_form
from services.assembler.status.pages.own_pages import own_page
from services.assembler.status.pages.rendering import Renderer
from services.runtime.identity import COOKIE, identity_of_token, tokens_are_set
from services.runtime.web import refuse_foreign_origin

COOKIE_SECONDS: Final = 12 * 3600


async def form(request: Request) -> Response:
    backend: Backend = request.state.backend
    if not tokens_are_set(backend.settings):
        return RedirectResponse("/", 303)
    return _draw(request, wrong=False, next_path=request.query_params.get("next", "/"))


def _draw(request: Request, *, wrong: bool, next_path: str) -> Response:
    renderer: Renderer = request.state.renderer
    status = 403 if wrong else 200
    return renderer.page("sign_in.html", who=None, place="", status=status, wrong=wrong, next=own_page(next_path))


async def sign_in(request: Request) -> Response:
    refuse_foreign_origin(request)
    backend: Backend = request.state.backend
    given = await read_form(request)
    token, next_path = str(given.get("token", "")).strip(), str(given.get("next", "/"))
    if identity_of_token(token, backend.settings) is None:
        return _draw(request, wrong=True, next_path=next_path)
    answer = RedirectResponse(own_page(next_path), 303)
    answer.set_cookie(
        COOKIE,
        token,
        max_age=COOKIE_SECONDS,
        httponly=True,
        samesite="strict",
        secure=request.scope["scheme"] == "https",
    )
    return answer


async def sign_out(request: Request) -> Response:
    refuse_foreign_origin(request)
    answer = RedirectResponse("/sign-in", 303)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer


ROUTES = [
    Route("/sign-in", form, methods=["GET"]),
    Route("/sign-in", sign_in, methods=["POST"]),
    Route("/sign-out", sign_out, methods=["POST"]),
]

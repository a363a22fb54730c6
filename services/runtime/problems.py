"""Turns refusals into RFC 9457 problem documents."""

from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from schemas.codec import encode
from schemas.interface import ErrorItem, Problem


class ProblemError(Exception):
    """A request that is refused. `code` is the last part of the problem's type."""

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        detail: str,
        *,
        errors: tuple[ErrorItem, ...] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.headers = dict(headers or {})
        self.problem = Problem(type=f"/problems/{code}", title=title, status=status, detail=detail, errors=errors)


def problem_response(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """The response for a problem, as `application/problem+json`."""
    return Response(encode(problem), problem.status, dict(headers or {}), "application/problem+json")


async def on_problem(_request: Request, error: Exception) -> Response:
    """Starlette's handler for `ProblemError`."""
    assert isinstance(error, ProblemError)
    return problem_response(error.problem, error.headers)


_TITLES = {404: ("not-found", "There is nothing here"), 405: ("method-not-allowed", "This method is not for this path")}


async def on_http_exception(_request: Request, error: Exception) -> Response:
    """Starlette's handler for its own exceptions: unknown paths, wrong methods."""
    assert isinstance(error, HTTPException)
    code, title = _TITLES.get(error.status_code, (f"http-{error.status_code}", error.detail))
    problem = Problem(type=f"/problems/{code}", title=title, status=error.status_code, detail=error.detail)
    return problem_response(problem, error.headers)


async def on_disconnect(_request: Request, _error: Exception) -> Response:
    """The client went away while its body was read: nobody is there to read an answer."""
    return Response(status_code=400)


async def on_crash(_request: Request, _error: Exception) -> Response:
    """An unforeseen error is a problem document too. The log names the error, the answer does not."""
    problem = Problem(
        type="/problems/internal-error",
        title="Something went wrong here",
        status=500,
        detail="The request could not be answered. Nothing that was stored is lost; try again, or tell the operator.",
    )
    return problem_response(problem)

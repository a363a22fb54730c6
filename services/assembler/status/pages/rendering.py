"""Renders the templates, and serves static files at addresses that hold a hash of their content."""

import hashlib
import mimetypes
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from schemas.interface import Queue
from schemas.settings import Settings
from services.assembler.status.pages.wording.formatting import ago, limit_in_words
from services.assembler.status.pages.wording.template_words import TEMPLATE_WORDS
from services.runtime.identity import Identity, tokens_are_set
from services.runtime.problems import ProblemError

PAGES: Final = Path(__file__).parent
SECURITY_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; object-src 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
}
A_YEAR_SECONDS: Final = 365 * 86400


class Renderer:
    """The templates of one application."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._files = {path.name: path.read_bytes() for path in sorted((PAGES / "static").iterdir())}
        self._hashes = {name: hashlib.sha256(data).hexdigest()[:12] for name, data in self._files.items()}
        self._environment = Environment(
            loader=FileSystemLoader(PAGES / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals |= dict(TEMPLATE_WORDS) | {
            "static": self.static,
            "limit_words": limit_in_words(settings.rate, settings.window_seconds),
            "currency": settings.currency,
            "max_file_bytes": settings.max_file_bytes,
        }

    def static(self, name: str) -> str:
        """The address of a static file. It holds a hash of the content, so the file may be cached without limit."""
        return f"/static/{self._hashes[name]}/{name}"

    def page(
        self,
        template: str,
        *,
        who: Identity | None,
        place: str,
        queue: Queue | None = None,
        status: int = 200,
        headers: dict[str, str] | None = None,
        **values: Any,
    ) -> HTMLResponse:
        now = datetime.now(UTC)
        html = self._environment.get_template(template).render(
            who=who,
            place=place,
            queue=queue,
            can_sign_out=who is not None and tokens_are_set(self._settings),
            now=now,
            ago=lambda moment: ago(moment, now),
            **values,
        )
        return HTMLResponse(html, status, SECURITY_HEADERS | {"Cache-Control": "no-store"} | (headers or {}))

    async def serve_static(self, request: Request) -> Response:
        name = str(request.path_params["name"])
        if name not in self._files:
            raise ProblemError(404, "not-found", "There is nothing here", "There is no such file.")
        current = request.path_params["mark"] == self._hashes[name]
        headers = {
            "Cache-Control": f"public, max-age={A_YEAR_SECONDS}, immutable" if current else "no-cache",
            "X-Content-Type-Options": "nosniff",
        }
        media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return Response(self._files[name], 200, headers, media_type)

    def routes(self) -> list[Route]:
        return [Route("/static/{mark}/{name}", self.serve_static, methods=["GET"])]

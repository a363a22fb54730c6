"""The pages of uploads: the list, one upload, and the forms on them, which answer with a redirect."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlencode

from pydantic import BaseModel
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from schemas.uploads import UploadOptions
from services.assembler.status.backend import Backend
from services.assembler.status.inputs import Nothing, form_number, parse_query, read_form, validated
from services.assembler.status.operations.command_execution import execute, execute_on, matching_uploads
from services.assembler.status.operations.listings import ListQuery, RowsQuery, rows_page, uploads_page
from services.assembler.status.operations.reprocess import reprocess
from services.assembler.status.operations.upload_commands import COMMANDS, RetryBody
from services.assembler.status.pages.page_endpoint import page_endpoint
from services.assembler.status.pages.rendering import Renderer
from services.assembler.status.pages.upload_facts import facts_of, rows_link
from services.assembler.status.pages.wording.outcomes import done_code, done_sentence
from services.assembler.status.pages.wording.uploads import SHOWS
from services.assembler.status.queue_view import queue_of
from services.runtime.identity import Identity
from services.runtime.problems import ProblemError

MOST_SELECTED: Final = 200
_BUTTONS: Final[Mapping[str, BaseModel]] = {
    "pause": Nothing(),
    "resume": Nothing(),
    "cancel": Nothing(),
    "retry-failed": RetryBody(force=True),
    "delete": Nothing(),
}
"""Commands with a button on the upload's page, each with the input that the button sends."""
_LIST_BUTTONS: Final[Mapping[str, BaseModel]] = {**_BUTTONS, "retry-failed": RetryBody(force=False)}
"""The buttons below the list: a retry of many uploads skips those that had the usual number of rounds."""


async def uploads(request: Request, backend: Backend, who: Identity, renderer: Renderer) -> Response:
    show = request.query_params.get("show", "all")
    if show not in SHOWS:
        show = "all"
    cursor = request.query_params.get("cursor")
    query = validated(ListQuery, {"state": SHOWS[show][1], "cursor": cursor, "limit": 25})
    found, following = await uploads_page(backend, who, query)
    return renderer.page(
        "uploads.html",
        who=who,
        place="uploads",
        queue=await queue_of(backend, who),
        uploads=found,
        said=done_sentence(request.query_params.get("said", "")),
        many_owners=len({upload.owner for upload in found}) > 1,
        filters={key: title for key, (title, _) in SHOWS.items()},
        filter=show,
        cursor=cursor,
        next=following,
    )


async def upload(request: Request, backend: Backend, who: Identity, renderer: Renderer) -> Response:
    upload_id = str(request.path_params["upload_id"])
    record = await backend.uploads.find(who, upload_id)
    shown = await backend.views.one(record)
    query = parse_query(RowsQuery, request)
    rows, following = await rows_page(backend, who, upload_id, query)
    queue = await queue_of(backend, who)
    return renderer.page(
        "upload.html",
        who=who,
        place="uploads",
        queue=queue,
        upload=shown,
        **facts_of(shown, rows, datetime.now(UTC), backend.settings),
        state=query.state[0] if query.state else None,
        verdict=query.verdict[0] if query.verdict else None,
        rows=rows,
        cursor=query.cursor,
        next=following,
        rows_link=lambda **chosen: rows_link(shown, **chosen),
    )


async def selected(request: Request, backend: Backend, who: Identity, _renderer: Renderer) -> Response:
    """A button below the list: one command for the ticked uploads, or for all that the list's filter matches."""
    form = await read_form(request)
    show, name = str(form.get("show", "all")), str(form.get("action", ""))
    if name not in _LIST_BUTTONS or show not in SHOWS:
        raise ProblemError(400, "wrong-input", "No such command", "Go back and press one of the buttons.")
    decide = COMMANDS[name].with_input(_LIST_BUTTONS[name])
    done, skipped = 0, 0
    if "every" in form:
        async for records in matching_uploads(backend, who, states=SHOWS[show][1]):
            accepted = await execute_on(backend, who, records, decide)
            done, skipped = done + accepted, skipped + len(records) - accepted
    else:
        chosen = [await backend.uploads.find(who, str(upload_id)) for upload_id in form.getlist("id")[:MOST_SELECTED]]
        done = await execute_on(backend, who, chosen, decide)
        skipped = len(chosen) - done
    return RedirectResponse(f"/?{urlencode({'show': show, 'said': done_code(name, done, skipped)})}", 303)


def _other_reading(form: FormData) -> UploadOptions:
    """The options of the new reading that the form gives.

    Raises:
        ProblemError: 422 for a wrong column or region.
    """
    column, region = (str(form.get(name, "")).strip() for name in ("phone_column", "region"))
    chosen: dict[str, Any] = {"start": False}
    if column:
        chosen["phone_columns"] = (form_number("phone_column", column) if column.isdigit() else column,)
    if region:
        chosen["region"] = region.upper()
    return validated(UploadOptions, chosen)


async def command(request: Request, backend: Backend, who: Identity, _renderer: Renderer) -> Response:
    """A button of the upload's page."""
    name = str(request.path_params["command"])
    upload_id = str(request.path_params["upload_id"])
    if name == "reprocess":
        fresh = await reprocess(backend, who, upload_id, _other_reading(await read_form(request)))
        return RedirectResponse(f"{fresh.links.page}/check", 303)
    if name not in _BUTTONS:
        raise ProblemError(404, "not-found", "There is nothing here", "There is no such command.")
    await execute(backend, who, upload_id, COMMANDS[name].with_input(_BUTTONS[name]))
    return RedirectResponse("/" if name == "delete" else f"/uploads/{quote(upload_id)}", 303)


ROUTES = [
    Route("/", page_endpoint(uploads), methods=["GET"]),
    Route("/selected", page_endpoint(selected), methods=["POST"]),
    Route("/uploads/{upload_id}", page_endpoint(upload), methods=["GET"]),
    Route("/uploads/{upload_id}/{command}", page_endpoint(command), methods=["POST"]),
]

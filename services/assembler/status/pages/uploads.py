"""The pages people see, drawn by the server; forms on them post here and are led back by a redirect."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlencode

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from schemas.interface import Row, Upload
from schemas.settings import Settings
from schemas.uploads import FINISHED, UploadOptions
from services.assembler.domain import commands
from services.assembler.status.api.uploads import ListQuery, RowsQuery, rows_page, uploads_page
from services.assembler.status.backend import Backend
from services.assembler.status.commanding import Decide, carry_out, carry_out_on, matching_uploads, reprocess
from services.assembler.status.inputs import form_number, parse_query, read_form, validated
from services.assembler.status.pages.own_pages import own_page
from services.assembler.status.pages.rendering import Renderer
from services.assembler.status.pages.wording import words
from services.assembler.status.pages.wording.outcomes import done_code, done_sentence
from services.assembler.status.pages.wording.uploads import SHOWS
from services.assembler.status.queue_view import queue_of
from services.runtime.identity import Identity, identify
from services.runtime.problems import ProblemError
from services.runtime.web import refuse_foreign_origin

MOST_COLUMNS: Final = 12
"""Columns of the input shown in the table; the download has them all."""
MOST_SELECTED: Final = 200


def page_endpoint(
    draw: Callable[[Request, Backend, Identity, Renderer], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """A page for a signed-in person; others are led to the sign-in form, problems are told in HTML."""

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
    """Where to lead a person back to; what was about to be sent is not sent again."""
    query = request.scope["query_string"].decode("latin-1")
    return own_page(f"{request.scope['path']}?{query}") if request.method == "GET" else "/"


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
    record = await backend.find(who, upload_id)
    shown = await backend.view(record)
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


def facts_of(shown: Upload, rows: list[Row], now: datetime, settings: Settings) -> dict[str, Any]:
    """What the upload's page shows beside the upload itself."""
    counts = shown.counts
    by_state = {
        "waiting": counts.waiting,
        "answered": counts.answered,
        "failed": counts.failed,
        "rejected": counts.rejected,
        "unprocessed": counts.unprocessed if shown.state in FINISHED else 0,
    }
    columns = () if shown.detected is None else shown.detected.columns
    has_titles = shown.detected is not None and shown.detected.header
    width = min(MOST_COLUMNS, max([len(row.cells) for row in rows] + [len(columns)], default=0))
    titles = [columns[n] if has_titles and n < len(columns) else f"Column {n + 1}" for n in range(width)]
    return {
        "left": words.time_left(shown.eta, now),
        "why": words.why_in_words(shown.why),
        "clock_words": lambda moment: f"in {words.duration(max(0.0, (moment - now).total_seconds()))}",
        "partial": shown.state != "completed",
        "has_rows": bool(counts.answered or counts.failed or counts.rejected or counts.waiting),
        "verdicts": _by_size(shown.summary.verdict, words.VERDICTS),
        "line_types": _by_size(shown.summary.line_type, words.LINE_TYPES),
        "problems": _problems(shown),
        "failed_link": _failed_link(shown),
        "spent": words.money(counts.calls * settings.call_price, settings.currency) if counts.calls else None,
        "row_tabs": [(code, count) for code, count in by_state.items() if count],
        "column_titles": titles,
        "shown_columns": width,
        "phone_columns": () if shown.detected is None else shown.detected.phone_columns,
    }


def _by_size(counts: Mapping[str, int], names: Mapping[str, str]) -> list[tuple[str, str, int]]:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return [(code, names.get(code, code), count) for code, count in ordered if count]


def _problems(shown: Upload) -> list[tuple[str, int, str]]:
    problems = []
    if shown.counts.failed:
        link = rows_link(shown, state="failed")
        problems.append(("The lookup service gave no answer", shown.counts.failed, link))
    codes = {} if shown.preview is None else shown.preview.problems
    if shown.counts.rejected and sum(codes.values()) == shown.counts.rejected:
        link = rows_link(shown, state="rejected")
        problems += [(words.PROBLEMS.get(code, code), count, link) for code, count in codes.items()]
    elif shown.counts.rejected:
        problems.append(("No usable number in the row", shown.counts.rejected, rows_link(shown, state="rejected")))
    return problems


def _failed_link(shown: Upload) -> str | None:
    states = [name for name in ("failed", "rejected") if getattr(shown.counts, name)]
    return f"{shown.links.result_csv}?rows={','.join(states)}" if states else None


def rows_link(shown: Upload, **chosen: str | None) -> str:
    """The upload's page with these rows in its table."""
    query = urlencode({key: value for key, value in chosen.items() if value})
    return f"{shown.links.page}{'?' + query if query else ''}#rows"


async def selected(request: Request, backend: Backend, who: Identity, _renderer: Renderer) -> Response:
    """A button below the list: one command for the ticked uploads, or for all that the list's filter matches."""
    form = await read_form(request)
    show, name = str(form.get("show", "all")), str(form.get("action", ""))
    if name not in _DECISIONS or show not in SHOWS:
        raise ProblemError(400, "wrong-input", "No such command", "Go back and press one of the buttons.")
    decide = _DECISIONS["retry-failed-gently" if name == "retry-failed" else name]
    done, left = 0, 0
    if "every" in form:
        async for records in matching_uploads(backend, who, states=SHOWS[show][1]):
            accepted = await carry_out_on(backend, who, records, decide)
            done, left = done + accepted, left + len(records) - accepted
    else:
        chosen = [await backend.find(who, str(upload_id)) for upload_id in form.getlist("id")[:MOST_SELECTED]]
        done = await carry_out_on(backend, who, chosen, decide)
        left = len(chosen) - done
    return RedirectResponse(f"/?{urlencode({'show': show, 'said': done_code(name, done, left)})}", 303)


_DECISIONS: Final[Mapping[str, Decide]] = {
    "pause": lambda target, by, now: commands.pause(target, by=by, now=now),
    "resume": lambda target, by, now: commands.resume(target, by=by, now=now),
    "cancel": lambda target, by, now: commands.cancel(target, by=by, now=now),
    "retry-failed": lambda target, by, now: commands.retry_failed(target, by=by, now=now, force=True),
    "retry-failed-gently": lambda target, by, now: commands.retry_failed(target, by=by, now=now, force=False),
    "delete": lambda target, by, now: commands.delete(target, by=by, now=now),
}


def _other_reading(form: FormData) -> UploadOptions:
    """How the file is to be read this time, as far as the form says.

    Raises:
        ProblemError: 422 for a column or a region that cannot be.
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
    if name not in _DECISIONS:
        raise ProblemError(404, "not-found", "There is nothing here", "There is no such command.")
    await carry_out(backend, who, upload_id, _DECISIONS[name])
    return RedirectResponse("/" if name == "delete" else f"/uploads/{quote(upload_id)}", 303)


ROUTES = [
    Route("/", page_endpoint(uploads), methods=["GET"]),
    Route("/selected", page_endpoint(selected), methods=["POST"]),
    Route("/uploads/{upload_id}", page_endpoint(upload), methods=["GET"]),
    Route("/uploads/{upload_id}/{command}", page_endpoint(command), methods=["POST"]),
]

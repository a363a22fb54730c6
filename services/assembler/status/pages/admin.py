"""The operators' page: the queue against its limit, processes, dead letters, bad records, clearing, the audit log."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlencode

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from schemas.interface import PartView
from services.assembler.domain.stored import DeadLetterFilter
from services.assembler.status.backend import Backend
from services.assembler.status.bad_record_list import BadRecordFilter, ListedBadRecord
from services.assembler.status.inputs import form_number, read_form, validated
from services.assembler.status.liveness import missing_roles
from services.assembler.status.operations import bad_records, queue_control
from services.assembler.status.operations import dead_letters as dead_letter_operations
from services.assembler.status.operations.audit import AuditItem, AuditQuery, audit_page
from services.assembler.status.operations.bad_records import BadRecordsInput
from services.assembler.status.operations.clear import ClearBody, clear
from services.assembler.status.operations.dead_letters import DismissQuery, RedriveBody
from services.assembler.status.pages.page_endpoint import page_endpoint
from services.assembler.status.pages.rendering import Renderer
from services.assembler.status.pages.wording.operators import condition_words, trouble_words
from services.assembler.status.pages.wording.outcomes import done_code, done_sentence
from services.assembler.status.queue_view import queue_of
from services.assembler.store import dead_letters, reads
from services.runtime.identity import Identity, require_admin
from services.runtime.problems import ProblemError

_FORGOTTEN_AFTER: Final = timedelta(hours=1)
MOST_NAMES: Final = 200
MOST_BAD_RECORDS: Final = 50


@dataclass(frozen=True, slots=True)
class ShownPart:
    """One process as the page shows it."""

    name: str
    tone: str
    words: str
    trouble: str | None
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class ShownBadRecords:
    """The newest bad records; `listed` counts all that are listed, `older` the notes further back in the log."""

    newest: list[ListedBadRecord]
    listed: int
    older: int


def shown_parts(parts: Iterable[PartView], now: datetime) -> list[ShownPart]:
    """The parts; a part that has been silent for an hour is left out."""
    shown = []
    for part in parts:
        condition = condition_words(part.state)
        if now - part.seen_at < _FORGOTTEN_AFTER:
            name = f"{part.role} {part.instance}"
            shown.append(ShownPart(name, condition.tone, condition.words, trouble_words(part), part.seen_at))
    return shown


async def admin(request: Request, backend: Backend, who: Identity, renderer: Renderer) -> Response:
    now = datetime.now(UTC)
    queue = await queue_of(backend, who)
    owner = None if who.admin else who.owner
    listed = DeadLetterFilter(owner=owner)
    groups = await backend.database.read(lambda connection: dead_letters.group_dead_letters(connection, listed))
    touched = {group.upload_id for group in groups}
    dead_calls = await backend.database.read(lambda connection: dead_letters.count_phones(connection, listed, touched))
    recent = await backend.database.read(
        lambda connection: reads.list_uploads(connection, owner=owner, limit=MOST_NAMES)
    )
    entries: list[AuditItem] = []
    following = None
    if who.admin:
        query = validated(AuditQuery, {"limit": 25, "cursor": request.query_params.get("audit")})
        entries, following = await audit_page(backend, query)
    return renderer.page(
        "admin.html",
        who=who,
        place="admin",
        queue=queue,
        said=done_sentence(request.query_params.get("said", "")),
        names={record.id: record.name or record.id for record in recent},
        missing=missing_roles(backend.hub.system_status().parts, now),
        shown_parts=shown_parts(queue.parts, now),
        dead_groups=groups,
        dead_calls=dead_calls,
        bad_records=_bad_records(backend) if who.admin else None,
        audit=entries,
        audit_next=following,
    )


def _bad_records(backend: Backend) -> ShownBadRecords:
    found = backend.bad_records.listed.newest_first(BadRecordFilter())
    return ShownBadRecords(found[:MOST_BAD_RECORDS], len(found), backend.bad_records.older)


async def command(request: Request, backend: Backend, who: Identity, _renderer: Renderer) -> Response:
    """A button of the operators' page; the page that follows says what the button did."""
    require_admin(who)
    form = await read_form(request)
    action = _BUTTONS.get(str(request.path_params["command"]))
    if action is None:
        raise ProblemError(404, "not-found", "There is nothing here", "There is no such command.")
    code = await action(backend, who, form)
    return RedirectResponse("/admin" if code is None else f"/admin?{urlencode({'said': code})}", 303)


async def _pause(backend: Backend, who: Identity, _form: FormData) -> None:
    await queue_control.set_paused(backend, who, paused=True)


async def _resume(backend: Backend, who: Identity, _form: FormData) -> None:
    await queue_control.set_paused(backend, who, paused=False)


async def _sweep(backend: Backend, who: Identity, _form: FormData) -> str:
    swept = await queue_control.sweep(backend, who)
    return done_code("sweep", swept.examined, swept.republished)


async def _redrive(backend: Backend, who: Identity, form: FormData) -> str:
    """Retries the dead letters of one upload, however often they were retried; or of all uploads."""
    upload_id = str(form.get("upload_id", "")) or None
    wanted = validated(RedriveBody, {"upload_id": upload_id, "force": upload_id is not None})
    done = await dead_letter_operations.redrive(backend, who, wanted)
    return done_code("redrive", done.rows, done.calls, len(done.refused))


async def _dismiss(backend: Backend, who: Identity, form: FormData) -> str:
    wanted = validated(DismissQuery, {"upload_id": str(form.get("upload_id", "")) or None})
    return done_code("dismiss", (await dead_letter_operations.dismiss(backend, who, wanted)).rows)


async def _retry_records(backend: Backend, who: Identity, form: FormData) -> str:
    chosen = {key: str(form[key]) for key in ("topic", "partition", "offset") if key in form}
    done = await bad_records.retry(backend, who, validated(BadRecordsInput, chosen).wanted())
    return done_code("retry-records", done.retried, done.matched - done.retried)


async def _clear(backend: Backend, who: Identity, form: FormData) -> str:
    dry_run = "dry_run" in form
    older_than_days = form_number("older_than_days", str(form.get("older_than_days", "30")))
    wanted = validated(ClearBody, {"older_than_days": older_than_days, "dry_run": dry_run})
    return done_code("count" if dry_run else "clear", (await clear(backend, who, wanted)).uploads)


_BUTTONS: Final[Mapping[str, Callable[[Backend, Identity, FormData], Awaitable[str | None]]]] = {
    "pause": _pause,
    "resume": _resume,
    "sweep": _sweep,
    "redrive": _redrive,
    "dismiss": _dismiss,
    "retry-records": _retry_records,
    "clear": _clear,
}
"""By the last part of the form's address; each returns the outcome's code for the page that follows."""


ROUTES = [
    Route("/admin", page_endpoint(admin), methods=["GET"]),
    Route("/admin/{command}", page_endpoint(command), methods=["POST"]),
]

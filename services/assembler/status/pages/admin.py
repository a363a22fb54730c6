"""The operators' page: the queue against its limit, the parts, dead letters, clearing, and who did what."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from schemas.interface import PartCondition, PartView
from schemas.lookups import GateState
from schemas.rows import BadReason
from services.assembler.domain.stored import DeadLetterFilter
from services.assembler.status.api.audit import AuditItem, AuditQuery, audit_page
from services.assembler.status.api.bad_records import BadRecordsFilter, retry_now
from services.assembler.status.api.dead_letters import DismissQuery, RedriveBody, dismiss_now, redrive_now
from services.assembler.status.api.queue import set_paused, sweep_now
from services.assembler.status.api.upload_commands import ClearBody, clear
from services.assembler.status.backend import Backend
from services.assembler.status.bad_record_list import PutAside, Wanted
from services.assembler.status.inputs import form_number, read_form, validated
from services.assembler.status.liveness import missing_roles
from services.assembler.status.pages.rendering import Renderer
from services.assembler.status.pages.uploads import page_endpoint
from services.assembler.status.pages.wording.outcomes import done_code, done_sentence
from services.assembler.status.queue_view import queue_of
from services.assembler.store import dead_letters, reads
from services.runtime.identity import Identity, require_admin
from services.runtime.problems import ProblemError

_GATE_WORDS: Final[Mapping[GateState, str]] = {
    "running": "Calls are being made",
    "paused": "All calls are paused",
    "account_problem": "The lookup service refuses our account",
    "provider_down": "The lookup service does not reply",
    "throttled": "Slowed down by the lookup service",
    "no_gate": "No gate is running",
}
_GATE_ADVICE: Final[Mapping[GateState, str]] = {
    "running": "",
    "paused": "Somebody paused them. Nothing is lost; rows wait until calls are resumed.",
    "account_problem": "Check the key (SCRUB_LOOKUP_KEY) and the account's credit. It is tried once a minute; no row "
    "is given up meanwhile.",
    "provider_down": "It is tried once a minute. No row is given up meanwhile.",
    "throttled": "It asked for fewer calls; the pace recovers step by step.",
    "no_gate": "Calls go on as soon as one is started; what waits is kept in Kafka.",
}
_ACTIONS: Final[Mapping[str, str]] = {
    "upload_opened": "uploaded",
    "start_upload": "started",
    "set_options": "changed options of",
    "pause_upload": "paused",
    "resume_upload": "resumed",
    "cancel_upload": "stopped",
    "retry_failed": "tried the failed rows of again",
    "dismiss_failed": "dismissed the dead letters of",
    "set_priority": "changed the priority of",
    "delete_upload": "deleted",
    "pause_calls": "paused all calls",
    "resume_calls": "resumed all calls",
    "sweep": "asked for a sweep",
    "forget_phone": "had a number forgotten",
    "retry_bad_records": "had records put aside tried again",
}
_PART_STATES: Final[Mapping[PartCondition, tuple[str, str]]] = {
    "starting": ("busy", "starting"),
    "running": ("good", "running"),
    "standby": ("good", "on standby"),
    "stuck": ("bad", "stuck"),
    "stopping": ("ask", "stopped"),
    "silent": ("bad", "silent"),
    "restarting": ("bad", "restarting"),
}
_FORGOTTEN_AFTER: Final = timedelta(hours=1)
MOST_NAMES: Final = 200
MOST_BAD_RECORDS: Final = 50
_BAD_REASONS: Final[Mapping[BadReason, str]] = {
    "undecodable": "Cannot be read",
    "failed": "The work on it failed",
    "too_large": "Too large to be written",
}


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
    """The newest records put aside, of how many that are listed, and how many more there were earlier."""

    newest: list[PutAside]
    listed: int
    older: int


def shown_parts(parts: Iterable[PartView], now: datetime) -> list[ShownPart]:
    """The parts; those of which nothing was heard for an hour are left out."""
    shown = []
    for part in parts:
        tone, said = _PART_STATES[part.state]
        if now - part.seen_at < _FORGOTTEN_AFTER:
            shown.append(ShownPart(f"{part.role} {part.instance}", tone, said, _trouble(part), part.seen_at))
    return shown


def _trouble(part: PartView) -> str | None:
    if part.state != "restarting":
        return part.error
    often = f"{part.restarts_lately} times in 5 minutes"
    return often if part.error is None else f"{often}: {part.error}"


async def admin(request: Request, backend: Backend, who: Identity, renderer: Renderer) -> Response:
    now = datetime.now(UTC)
    queue = await queue_of(backend, who)
    owner = None if who.admin else who.owner
    listed = DeadLetterFilter(owner=owner)
    groups = await backend.read(lambda connection: dead_letters.group_dead_letters(connection, listed))
    touched = {group.upload_id for group in groups}
    dead_calls = await backend.read(lambda connection: dead_letters.count_phones(connection, listed, touched))
    recent = await backend.read(lambda connection: reads.list_uploads(connection, owner=owner, limit=MOST_NAMES))
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
        missing=missing_roles(backend.hub.surroundings().parts, now),
        shown_parts=shown_parts(queue.parts, now),
        dead_groups=groups,
        dead_calls=dead_calls,
        bad_records=_bad_records(backend) if who.admin else None,
        bad_reasons=_BAD_REASONS,
        audit=entries,
        audit_next=following,
        gate_words=_GATE_WORDS,
        gate_advice=_GATE_ADVICE,
        action_words=_ACTIONS,
    )


def _bad_records(backend: Backend) -> ShownBadRecords:
    found = backend.bad_records.listed.newest_first(Wanted())
    return ShownBadRecords(found[:MOST_BAD_RECORDS], len(found), backend.bad_records.older)


async def command(request: Request, backend: Backend, who: Identity, _renderer: Renderer) -> Response:
    """A button of the operators' page; what it did is said on the page that follows."""
    require_admin(who)
    given = await read_form(request)
    name = str(request.path_params["command"])
    if name in ("pause", "resume"):
        await set_paused(backend, who, paused=name == "pause")
        return RedirectResponse("/admin", 303)
    if name == "sweep":
        swept = await sweep_now(backend, who)
        said = done_code("sweep", swept.examined, swept.republished)
    elif name == "redrive":
        upload_id = str(given.get("upload_id", "")) or None
        done = await redrive_now(
            backend, who, validated(RedriveBody, {"upload_id": upload_id, "force": upload_id is not None})
        )
        said = done_code("redrive", done.rows, done.calls, len(done.refused))
    elif name == "dismiss":
        upload_id = str(given.get("upload_id", "")) or None
        query = validated(DismissQuery, {"upload_id": upload_id})
        said = done_code("dismiss", (await dismiss_now(backend, who, query)).rows)
    elif name == "retry-records":
        chosen = {key: str(given[key]) for key in ("topic", "partition", "offset") if key in given}
        tried = await retry_now(backend, who, validated(BadRecordsFilter, chosen).wanted())
        said = done_code("retry-records", tried.retried, tried.matched - tried.retried)
    elif name == "clear":
        dry_run = "dry_run" in given
        uploads = await _clear(backend, who, str(given.get("older_than_days", "30")), dry_run=dry_run)
        said = done_code("count" if dry_run else "clear", uploads)
    else:
        raise ProblemError(404, "not-found", "There is nothing here", "There is no such command.")
    return RedirectResponse(f"/admin?{urlencode({'said': said})}", 303)


async def _clear(backend: Backend, who: Identity, days: str, *, dry_run: bool) -> int:
    older_than_days = form_number("older_than_days", days)
    return (
        await clear(backend, who, validated(ClearBody, {"older_than_days": older_than_days, "dry_run": dry_run}))
    ).uploads


ROUTES = [
    Route("/admin", page_endpoint(admin), methods=["GET"]),
    Route("/admin/{command}", page_endpoint(command), methods=["POST"]),
]

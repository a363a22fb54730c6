"""The page between upload and start: what was detected, what it would cost, and every choice that changes it."""

from datetime import UTC, datetime
from typing import Any, Final

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from schemas.interface import Upload
from schemas.uploads import ColumnProfile, UploadOptions
from services.assembler.status.backend import Backend
from services.assembler.status.inputs import form_number, read_form, validated
from services.assembler.status.operations.command_execution import execute
from services.assembler.status.operations.upload_commands import COMMANDS, StartBody
from services.assembler.status.pages.page_endpoint import page_endpoint
from services.assembler.status.pages.rendering import Renderer
from services.assembler.status.pages.upload_facts import facts_of
from services.assembler.status.pages.wording.check import (
    AGES_IN_DAYS,
    DELIMITERS,
    ENCODINGS,
    NO_DELIMITER,
    check_problems,
)
from services.assembler.status.queue_view import queue_of
from services.runtime.identity import Identity

MOST_PROFILES: Final = 24
"""Columns shown as cards; a wider file's other columns can be chosen by the API."""
_DAY_SECONDS: Final = 86_400


async def check(request: Request, backend: Backend, who: Identity, renderer: Renderer) -> Response:
    """The plan while the upload waits for a start; later, a redirect to its progress."""
    record = await backend.uploads.find(who, str(request.path_params["upload_id"]))
    shown = await backend.views.one(record)
    if shown.state not in ("pending", "checking", "checked", "failed"):
        return RedirectResponse(shown.links.page, 303)
    profiles = () if shown.preview is None else shown.preview.columns
    age = shown.options.max_age_seconds
    return renderer.page(
        "check.html",
        who=who,
        place="uploads",
        queue=await queue_of(backend, who),
        upload=shown,
        **facts_of(shown, [], datetime.now(UTC), backend.settings),
        check_problems=check_problems(shown),
        profiles=profiles,
        shown_profiles=_shown_profiles(shown, profiles),
        region=backend.settings.region,
        delimiters=_delimiters(shown),
        delimiter_now=_delimiter_word(shown),
        encodings=ENCODINGS,
        ages=AGES_IN_DAYS,
        age_now="" if age is None else f"{age / _DAY_SECONDS:g}",
        advanced_open="open" in request.query_params,
    )


def _shown_profiles(shown: Upload, profiles: tuple[ColumnProfile, ...]) -> list[ColumnProfile]:
    """The chosen columns and the columns most like phones, in the order of the file."""
    chosen = set() if shown.detected is None else set(shown.detected.phone_columns)
    ranked = sorted(profiles, key=lambda one: (one.index not in chosen, -one.phone_share, one.index))
    return sorted(ranked[:MOST_PROFILES], key=lambda one: one.index)


def _delimiter_word(shown: Upload) -> str:
    delimiter = None if shown.detected is None else shown.detected.delimiter
    return "tab" if delimiter == "\t" else delimiter or ""


def _delimiters(shown: Upload) -> list[tuple[str, str]]:
    now = _delimiter_word(shown)
    known = list(DELIMITERS.items())
    return known if now in DELIMITERS else [(now, now or NO_DELIMITER), *known]


async def start(request: Request, backend: Backend, who: Identity, _renderer: Renderer) -> Response:
    upload_id = str(request.path_params["upload_id"])
    form = await read_form(request)
    given = {name: str(form.get(name, "")).strip() for name in ("max_calls", "sample_rows")}
    limits = validated(StartBody, {name: form_number(name, text) for name, text in given.items() if text})
    await execute(backend, who, upload_id, COMMANDS["start"].with_input(limits))
    return RedirectResponse(f"/uploads/{upload_id}", 303)


async def options(request: Request, backend: Backend, who: Identity, _renderer: Renderer) -> Response:
    """The form of choices: only a choice that differs from the detected value becomes an option."""
    upload_id = str(request.path_params["upload_id"])
    record = await backend.uploads.find(who, upload_id)
    shown = await backend.views.one(record)
    changes = chosen_options(shown, await read_form(request))
    await execute(backend, who, upload_id, COMMANDS["options"].with_input(changes))
    return RedirectResponse(f"/uploads/{upload_id}/check", 303)


def chosen_options(shown: Upload, form: FormData) -> UploadOptions:
    """The options that a person changed in the form.

    Raises:
        ProblemError: 422 for a wrong value.
    """
    return validated(UploadOptions, _changed_reading(shown, form) | _changed_columns(shown, form) | _age(shown, form))


def _changed_reading(shown: Upload, form: FormData) -> dict[str, Any]:
    """The choices about the file's format that differ from the detected values."""
    values: dict[str, Any] = {}
    detected = shown.detected
    for name in ("region", "sheet", "encoding"):
        text = str(form.get(name, "")).strip()
        text = text.upper() if name == "region" else text
        if text and (detected is None or text != getattr(detected, name)):
            values[name] = text
    delimiter = str(form.get("delimiter", ""))
    if delimiter and delimiter != _delimiter_word(shown):
        values["delimiter"] = "\t" if delimiter == "tab" else delimiter
    if "header" in form and detected is not None and (form["header"] == "true") != detected.header:
        values["header"] = form["header"] == "true"
    return values


def _changed_columns(shown: Upload, form: FormData) -> dict[str, Any]:
    """The chosen columns of phones and area code that differ from the detected ones."""
    values: dict[str, Any] = {}
    detected = shown.detected
    columns = tuple(form_number("phone_column", str(text)) for text in form.getlist("phone_column") if text)
    if columns and (detected is None or columns != detected.phone_columns):
        values["phone_columns"] = columns
    if "area_column" in form:
        area = _number_if_given(form, "area_column")
        if area != (None if detected is None else detected.area_column):
            values["area_column"] = area
    return values


def _age(shown: Upload, form: FormData) -> dict[str, Any]:
    """The chosen age of answers to reuse, if it differs from the present option."""
    if "max_age_days" not in form:
        return {}
    days = _number_if_given(form, "max_age_days")
    seconds = None if days is None else days * _DAY_SECONDS
    return {} if seconds == shown.options.max_age_seconds else {"max_age_seconds": seconds}


def _number_if_given(form: FormData, name: str) -> int | None:
    text = str(form[name])
    return form_number(name, text) if text else None


ROUTES = [
    Route("/uploads/{upload_id}/check", page_endpoint(check), methods=["GET"]),
    Route("/uploads/{upload_id}/start", page_endpoint(start), methods=["POST"]),
    Route("/uploads/{upload_id}/options", page_endpoint(options), methods=["POST"]),
]

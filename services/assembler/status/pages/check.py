"""The page between upload and start: what was detected, what it would cost, and every choice that changes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from schemas.interface import Upload
from schemas.uploads import ColumnProfile, UploadOptions
from services.assembler.domain import commands
from services.assembler.status.api.upload_commands import StartBody
from services.assembler.status.backend import Backend
from services.assembler.status.commanding import carry_out, changed_options
from services.assembler.status.inputs import form_number, read_form, validated
from services.assembler.status.pages.rendering import Renderer
from services.assembler.status.pages.uploads import facts_of, page_endpoint
from services.assembler.status.pages.wording import words
from services.assembler.status.queue_view import queue_of
from services.runtime.identity import Identity

MOST_PROFILES: Final = 24
"""Columns shown as cards; a wider file's other columns can be chosen by the API."""
_DAY_SECONDS: Final = 86_400
_AGES: Final = (
    ("", "the usual time"),
    ("0", "none: ask for every phone anew"),
    ("1", "a day"),
    ("7", "a week"),
    ("30", "30 days"),
    ("365", "a year"),
)
_DELIMITERS: Final[Mapping[str, str]] = {
    ",": "Comma ,",
    ";": "Semicolon ;",
    "tab": "Tab",
    "|": "Pipe |",
    ":": "Colon :",
    "^": "Caret ^",
    "~": "Tilde ~",
    " ": "Space",
}
_ENCODINGS: Final = ("utf-8", "cp1252", "iso-8859-1", "mac_roman", "utf-16", "shift_jis", "cp949", "gbk", "cp1251")


@dataclass(frozen=True, slots=True)
class CheckProblem:
    """Something a person should look at before the start. `asks`: it may want a decision.

    `area_columns`: columns, with their names, that may hold the area code and can be chosen by a button.
    """

    title: str
    detail: str
    asks: bool
    area_columns: tuple[tuple[int, str], ...] = ()


def check_problems(upload: Upload) -> list[CheckProblem]:
    """What the check found, grouped by what to do about it; the most consequential first."""
    detected, plan = upload.detected, upload.plan
    if detected is None or plan is None:
        return []
    problems = []
    names = _column_names(upload)
    if detected.other_phone_columns:
        listed = " and ".join(f"“{names[n]}”" for n in detected.other_phone_columns if n in names)
        problems.append(
            CheckProblem(
                f"{listed} also {'look' if len(detected.other_phone_columns) > 1 else 'looks'} like phones",
                "These are not looked up unless you tick them below.",
                True,
            )
        )
    if detected.area_column is None and detected.area_column_candidates:
        found = tuple((n, names[n]) for n in detected.area_column_candidates if n in names)
        problems.append(
            CheckProblem(
                "The area code may be in a column of its own",
                "The numbers look as if it was missing. With it they are read as a whole.",
                True,
                area_columns=found,
            )
        )
    rejected = {} if upload.preview is None else upload.preview.problems
    for code, count in sorted(rejected.items(), key=lambda item: -item[1]):
        problems.append(
            CheckProblem(
                f"{words.plural(count, 'row')}: {words.uncapitalised(words.PROBLEMS.get(code, code))}",
                _ADVICE.get(code, "These rows stay in the file and are marked."),
                code == "lost_digits",
            )
        )
    if plan.split:
        problems.append(
            CheckProblem(
                f"{words.plural(plan.split, 'cell')} with more than a phone number in it",
                "The number was taken out of the text around it; extensions are left aside.",
                False,
            )
        )
    return problems


_ADVICE: Final[Mapping[str, str]] = {
    "lost_digits": "A spreadsheet has rounded these numbers; the digits are gone. Export the file again with the "
    "column formatted as text.",
    "no_phone": "These rows stay in the file and are marked. No call is made for them.",
    "not_a_phone": "These rows stay in the file and are marked. No call is made for them.",
}


def detected_words(upload: Upload) -> str:
    """One line that says what the file turned out to be."""
    detected = upload.detected
    parts = [words.file_size(upload.bytes)] if upload.bytes else []
    if detected is None:
        return " · ".join(parts)
    formats = {
        "csv": "Text table",
        "xlsx": "Excel workbook",
        "jsonl": "JSON Lines",
        "kafka": "Rows from another system",
    }
    parts.insert(0, formats[detected.format])
    if detected.format == "csv":
        parts.append("one column" if detected.delimiter is None else f"separated by {_separator(detected.delimiter)}")
        parts.append(f"encoded as {detected.encoding}")
    if detected.sheet:
        parts.append(f"sheet “{detected.sheet}”")
    parts.append("with column names" if detected.header else "without column names")
    if detected.skipped_lines:
        parts.append(f"{words.plural(detected.skipped_lines, 'line')} above the table skipped")
    if detected.region:
        parts.append(f"numbers without a country code read as {detected.region}")
    return " · ".join(parts)


def _separator(delimiter: str) -> str:
    names = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "pipes", ":": "colons", " ": "spaces"}
    return names.get(delimiter, delimiter)


def _column_names(upload: Upload) -> dict[int, str]:
    profiles = () if upload.preview is None else upload.preview.columns
    return {one.index: one.header or f"Column {one.index + 1}" for one in profiles}


async def check(request: Request, backend: Backend, who: Identity, renderer: Renderer) -> Response:
    """The plan while the upload waits for a start; afterwards its progress is what counts."""
    record = await backend.find(who, str(request.path_params["upload_id"]))
    shown = await backend.view(record)
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
        detected_words=detected_words,
        check_problems=check_problems(shown),
        profiles=profiles,
        shown_profiles=_shown_profiles(shown, profiles),
        region=backend.settings.region,
        delimiters=_delimiters(shown),
        delimiter_now=_delimiter_word(shown),
        encodings=_ENCODINGS,
        ages=_AGES,
        age_now="" if age is None else f"{age / _DAY_SECONDS:g}",
        advanced_open="open" in request.query_params,
    )


def _shown_profiles(shown: Upload, profiles: tuple[ColumnProfile, ...]) -> list[ColumnProfile]:
    """The chosen columns and those most like phones, in the order of the file."""
    chosen = set() if shown.detected is None else set(shown.detected.phone_columns)
    ranked = sorted(profiles, key=lambda one: (one.index not in chosen, -one.phone_share, one.index))
    return sorted(ranked[:MOST_PROFILES], key=lambda one: one.index)


def _delimiter_word(shown: Upload) -> str:
    delimiter = None if shown.detected is None else shown.detected.delimiter
    return "tab" if delimiter == "\t" else delimiter or ""


def _delimiters(shown: Upload) -> list[tuple[str, str]]:
    now = _delimiter_word(shown)
    known = list(_DELIMITERS.items())
    return known if now in _DELIMITERS else [(now, now or "nothing: one column"), *known]


async def start(request: Request, backend: Backend, who: Identity, _renderer: Renderer) -> Response:
    upload_id = str(request.path_params["upload_id"])
    form = await read_form(request)
    given = {name: str(form.get(name, "")).strip() for name in ("max_calls", "sample_rows")}
    limits = validated(StartBody, {name: form_number(name, text) for name, text in given.items() if text})
    await carry_out(
        backend,
        who,
        upload_id,
        lambda target, by, now: commands.start(
            target, by=by, now=now, max_calls=limits.max_calls, sample_rows=limits.sample_rows
        ),
    )
    return RedirectResponse(f"/uploads/{upload_id}", 303)


async def options(request: Request, backend: Backend, who: Identity, _renderer: Renderer) -> Response:
    """The form of choices: only what differs from what was detected becomes an option."""
    upload_id = str(request.path_params["upload_id"])
    record = await backend.find(who, upload_id)
    shown = await backend.view(record)
    changes = chosen_options(shown, await read_form(request))
    await carry_out(
        backend,
        who,
        upload_id,
        lambda target, by, now: commands.set_options(target, changed_options(target.options, changes), by=by, now=now),
    )
    return RedirectResponse(f"/uploads/{upload_id}/check", 303)


def chosen_options(shown: Upload, form: FormData) -> UploadOptions:
    """The options that a person changed in the form.

    Raises:
        ProblemError: 422 when a value cannot be.
    """
    values: dict[str, Any] = {}
    detected = shown.detected
    columns = tuple(form_number("phone_column", str(text)) for text in form.getlist("phone_column") if text)
    if columns and (detected is None or columns != detected.phone_columns):
        values["phone_columns"] = columns
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
    if "area_column" in form:
        area = _number_if_given(form, "area_column")
        if area != (None if detected is None else detected.area_column):
            values["area_column"] = area
    if "max_age_days" in form:
        days = _number_if_given(form, "max_age_days")
        seconds = None if days is None else days * _DAY_SECONDS
        if seconds != shown.options.max_age_seconds:
            values["max_age_seconds"] = seconds
    return validated(UploadOptions, values)


def _number_if_given(form: FormData, name: str) -> int | None:
    text = str(form[name])
    return form_number(name, text) if text else None


ROUTES = [
    Route("/uploads/{upload_id}/check", page_endpoint(check), methods=["GET"]),
    Route("/uploads/{upload_id}/start", page_endpoint(start), methods=["POST"]),
    Route("/uploads/{upload_id}/options", page_endpoint(options), methods=["POST"]),
]

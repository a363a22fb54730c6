"""Builds the views of uploads and rows from what is stored; pure.

Position, ETA and cause of waiting are known to the gate alone, so the caller gives them; a completion event has none.
"""

import json
from datetime import timedelta
from typing import Literal, TypeVar

from pydantic import ValidationError

from schemas.base import Message
from schemas.interface import Eta, Plan, Row, Summary, Upload, UploadProblem, Why, links_of
from schemas.lookups import AttemptError
from schemas.rows import RowError
from schemas.settings import Settings
from schemas.uploads import Detected, Preview, UploadOptions
from schemas.values import LATEST
from services.assembler.domain.row_state import STATE_NAMES, State
from services.assembler.domain.stored import StoredRow, StoredUpload

M = TypeVar("M", bound=Message)

ROWS_MISSING = UploadProblem(
    code="rows-missing",
    title="Rows are missing",
    detail="Fewer rows arrived than were said to have been published, and none is on the way. Upload the file again.",
)


_LONGEST_NAME = 200
"""Earlier versions stored longer ones."""
REFUSED = UploadProblem(code="refused", title="The file was refused", detail="Upload the file again.")


def upload_view(
    upload: StoredUpload,
    *,
    settings: Settings,
    why: Why | None = None,
    position: int | None = None,
    eta: Eta | None = None,
) -> Upload:
    """The upload as all systems outside see it. It must have been opened."""
    assert upload.created_at is not None, "only an opened upload can be shown"
    return Upload(
        id=upload.id,
        name=(upload.name or "")[:_LONGEST_NAME],
        bytes=upload.file_bytes,
        sha256=upload.sha256,
        owner=upload.owner or "",
        operation=upload.operation or "upload",
        parent_id=upload.parent_id,
        state=upload.state,
        outcome=_outcome(upload),
        round=upload.round,
        priority=upload.priority,
        why=Why(code="rows_missing") if upload.lacks_rows else why,
        options=parsed(UploadOptions, upload.options) or UploadOptions(),
        detected=parsed(Detected, upload.detected),
        plan=plan_of(upload, settings),
        preview=parsed(Preview, upload.preview),
        counts=upload.counts,
        summary=Summary(verdict=upload.verdicts, line_type=upload.line_types),
        position=position,
        eta=eta,
        created_at=upload.created_at,
        started_at=upload.wanted_at,
        finished_at=upload.finished_at,
        expires_at=min(upload.created_at + timedelta(days=settings.keep_days), LATEST),
        error=_problem(upload),
        links=links_of(upload.id),
    )


def plan_of(upload: StoredUpload, settings: Settings) -> Plan | None:
    """The counts of the file's check, and the time (at full rate) and cost of its calls."""
    if upload.plan_rows is None or upload.plan_distinct is None:
        return None
    calls = None if upload.plan_known is None else max(0, upload.plan_distinct - upload.plan_known)
    return Plan(
        rows=upload.plan_rows,
        with_phone=upload.plan_with_phone or 0,
        usable=upload.plan_usable or 0,
        split=upload.plan_split or 0,
        distinct=upload.plan_distinct,
        known=upload.plan_known,
        calls=calls,
        seconds=None if calls is None else calls * settings.window_seconds / settings.rate,
        cost=None if calls is None else round(calls * settings.call_price, 4),
    )


def _outcome(upload: StoredUpload) -> Literal["success", "partial"] | None:
    if upload.finished_at is None or upload.refused is not None:
        return None
    counts = upload.counts
    return "partial" if counts.failed or counts.rejected or counts.unprocessed or upload.lacks_rows else "success"


def _problem(upload: StoredUpload) -> UploadProblem | None:
    if upload.refused is not None:
        return parsed(UploadProblem, upload.refused) or REFUSED
    return ROWS_MISSING if upload.lacks_rows else None


def parsed(model: type[M], text: str | None) -> M | None:
    """The stored value; None if there is none, or an earlier version stored one that the model does not allow today."""
    try:
        return None if text is None else model.model_validate_json(text)
    except ValidationError:
        return None


def row_view(row: StoredRow, *, cancelled: bool) -> Row:
    """A row as people see it. `cancelled`: its upload is cancelled, so a waiting row shows as unprocessed."""
    never_called = cancelled and row.state == State.waiting
    return Row.model_validate(
        {
            "row": row.row,
            "line": row.line,
            "state": STATE_NAMES[State.unprocessed if never_called else row.state],
            "phone": row.phone,
            "cells": tuple(json.loads(row.cells)),
            "result": row.result,
            "error": _row_error(row, never_called=never_called),
        }
    )


def _row_error(row: StoredRow, *, never_called: bool) -> RowError | None:
    if row.error is not None:
        return parsed(RowError, row.error)
    if never_called:
        return RowError(code="cancelled", detail="The upload was cancelled before this phone was looked up.")
    if row.state != State.failed:
        return None
    cause = parsed(AttemptError, row.result_error)
    detail = "The lookup failed." if cause is None else f"{cause.code}: {cause.detail}"
    return RowError(code="gave_up", detail=detail)

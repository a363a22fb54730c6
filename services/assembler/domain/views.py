"""Builds what people see of an upload and of a row from what is stored; pure.

What only the gate knows (position, ETA, why) is handed in by who knows it; a completion event has none of it.
"""

import json
from datetime import timedelta
from typing import Literal, TypeVar

from pydantic import ValidationError

from schemas.base import Message
from schemas.interface import Eta, Links, Plan, Row, RowResult, Summary, Upload, UploadProblem, Why
from schemas.lookups import AttemptError
from schemas.rows import RowError
from schemas.settings import Settings
from schemas.uploads import Detected, Preview, UploadOptions
from schemas.values import LATEST
from services.assembler.domain.records import StoredRow, UploadRecord
from services.assembler.domain.row_state import State
from services.assembler.domain.stored_numbers import from_micros

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
    record: UploadRecord,
    *,
    settings: Settings,
    why: Why | None = None,
    position: int | None = None,
    eta: Eta | None = None,
) -> Upload:
    """The upload as everybody outside sees it. `record` must be of an opened upload."""
    assert record.created_at is not None, "only an opened upload can be shown"
    return Upload(
        id=record.id,
        name=(record.name or "")[:_LONGEST_NAME],
        bytes=record.file_bytes,
        sha256=record.sha256,
        owner=record.owner or "",
        operation=record.operation or "upload",
        parent_id=record.parent_id,
        state=record.state,
        outcome=_outcome(record),
        round=record.round,
        priority=record.priority,
        why=Why(code="rows_missing") if record.lacks_rows else why,
        options=parsed(UploadOptions, record.options) or UploadOptions(),
        detected=parsed(Detected, record.detected),
        plan=plan_of(record, settings),
        preview=parsed(Preview, record.preview),
        counts=record.counts,
        summary=Summary(verdict=record.verdicts, line_type=record.line_types),
        position=position,
        eta=eta,
        created_at=record.created_at,
        started_at=record.wanted_at,
        finished_at=record.finished_at,
        expires_at=min(record.created_at + timedelta(days=settings.keep_days), LATEST),
        error=_problem(record),
        links=links_of(record.id),
    )


def links_of(upload_id: str) -> Links:
    call = f"/v1/uploads/{upload_id}"
    return Links(
        self=call,
        page=f"/uploads/{upload_id}",
        rows=f"{call}/rows",
        events=f"{call}/events",
        result_csv=f"{call}/result.csv",
    )


def plan_of(record: UploadRecord, settings: Settings) -> Plan | None:
    """What the file's check counted, and what its calls would take at full rate and cost."""
    if record.plan_rows is None or record.plan_distinct is None:
        return None
    calls = None if record.plan_known is None else max(0, record.plan_distinct - record.plan_known)
    return Plan(
        rows=record.plan_rows,
        with_phone=record.plan_with_phone or 0,
        usable=record.plan_usable or 0,
        split=record.plan_split or 0,
        distinct=record.plan_distinct,
        known=record.plan_known,
        calls=calls,
        seconds=None if calls is None else calls * settings.window_seconds / settings.rate,
        cost=None if calls is None else round(calls * settings.call_price, 4),
    )


def _outcome(record: UploadRecord) -> Literal["success", "partial"] | None:
    if record.finished_at is None or record.refused is not None:
        return None
    counts = record.counts
    return "partial" if counts.failed or counts.rejected or counts.unprocessed or record.lacks_rows else "success"


def _problem(record: UploadRecord) -> UploadProblem | None:
    if record.refused is not None:
        return parsed(UploadProblem, record.refused) or REFUSED
    return ROWS_MISSING if record.lacks_rows else None


def parsed(model: type[M], text: str | None) -> M | None:
    """What was stored; None if there is nothing, or an earlier version stored what has no place in the model today."""
    try:
        return None if text is None else model.model_validate_json(text)
    except ValidationError:
        return None


def row_view(row: StoredRow, *, cancelled: bool) -> Row:
    """A row as people see it. `cancelled`: its upload is, so that what still waits is unprocessed."""
    waits_in_vain = cancelled and row.state == State.waiting
    return Row(
        row=row.row,
        line=row.line,
        state=State.unprocessed.name if waits_in_vain else State(row.state).name,
        phone=row.phone,
        cells=tuple(json.loads(row.cells)),
        result=_row_result(row),
        error=_row_error(row, waits_in_vain=waits_in_vain),
    )


def _row_result(row: StoredRow) -> RowResult | None:
    if row.outcome is None or row.looked_up_at is None:
        return None
    return RowResult.model_validate(
        {
            "outcome": row.outcome,
            "verdict": row.verdict,
            "line_type": row.line_type,
            "carrier": row.carrier,
            "country": row.country,
            "reachable": row.reachable,
            "do_not_call": row.do_not_call,
            "provider": row.provider,
            "looked_up_at": from_micros(row.looked_up_at),
            "attempts": row.attempts,
        }
    )


def _row_error(row: StoredRow, *, waits_in_vain: bool) -> RowError | None:
    if row.error is not None:
        return parsed(RowError, row.error)
    if waits_in_vain:
        return RowError(code="cancelled", detail="The upload was cancelled before this phone was looked up.")
    if row.state != State.failed:
        return None
    cause = parsed(AttemptError, row.result_error)
    detail = "The lookup failed." if cause is None else f"{cause.code}: {cause.detail}"
    return RowError(code="gave_up", detail=detail)

"""What the pages say in words: nothing is called done that is not, and waiting has its reason."""

from typing import Any, cast, get_args

import pytest

from schemas.interface import Limit, PartCondition, Queue, QueuedUpload, Row, Upload, Why
from schemas.lookups import GateState, LineType, Verdict
from schemas.rows import BadReason, RowError, RowState
from schemas.upload_events import OperatorActed, UploadEventBase, UploadOpened
from schemas.uploads import Counts
from services.assembler.status.pages.wording.check import format_words
from services.assembler.status.pages.wording.operators import ACTIONS, BAD_REASONS, CONDITIONS, condition_words
from services.assembler.status.pages.wording.queue import GATE_STATES, gate_words, queue_words, reason_words
from services.assembler.status.pages.wording.rows import LINE_TYPES, ROW_STATES, VERDICTS, row_words
from services.assembler.status.pages.wording.uploads import headline, outcome_words
from services.ingest.http.opening import fresh_upload
from tests.fixtures.ids import upload_id
from tests.unit.ingest.builders import opened

WAITING = "12 phones waiting"
BY_THE_FEEDER = {"upload_checking", "upload_checked", "upload_refused", "upload_fed"}


def upload(**fields: Any) -> Upload:
    event = opened(upload_id("u"))
    assert isinstance(event, UploadOpened)
    return fresh_upload(event, keep_days=30).model_copy(update=fields)


def completed(**counts: int) -> Upload:
    return upload(state="completed", counts=Counts.model_validate(counts))


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({}, "The file has no rows."),
        ({"rows": 1, "answered": 1}, "The row has its answer."),
        ({"rows": 9, "answered": 9}, "All 9 rows have their answers."),
        ({"rows": 9, "answered": 7, "failed": 1, "rejected": 1}, "7 of 9 rows answered, 1 got no answer, 1 had no"),
        ({"rows": 9, "answered": 5, "unprocessed": 4}, "5 of 9 rows answered, 4 not looked up."),
    ],
)
def test_a_completed_upload_says_what_it_has(counts: dict[str, int], said: str) -> None:
    assert headline(completed(**counts)).startswith(said)


def test_the_list_tells_of_rows_that_were_left_out() -> None:
    assert outcome_words(completed(rows=9, answered=5, unprocessed=4)) == "5 answered, 4 not looked up"


def queue(*whys: Why | None, **fields: Any) -> Queue:
    uploads = tuple(QueuedUpload(id=f"u{n}", pending=6, position=n, why=why) for n, why in enumerate(whys, start=1))
    given: dict[str, Any] = {
        "state": "running",
        "limit": Limit(calls=10, window_seconds=1.0),
        "used_last_window": 0,
        "calls_last_minute": 0,
        "pending": 12,
        "in_progress": 0,
        "completed": 0,
        "failed": 0,
        "retries": 0,
        "dead_letters": 0,
        "oldest_wait_seconds": None,
        "next": (),
        "uploads": uploads,
        "parts": (),
    }
    return Queue.model_validate(given | fields)


def test_the_strip_says_why_nothing_moves() -> None:
    paused = Why(code="paused")
    assert queue_words(queue(paused, paused)) == f"{WAITING} in paused uploads"
    assert queue_words(queue(paused, None)) == f"0 of 10 calls a second · {WAITING}"
    assert queue_words(queue()) == f"0 of 10 calls a second · {WAITING}"
    assert queue_words(queue(paused, state="paused")) == f"All calls are paused · {WAITING}"
    assert queue_words(queue(pending=0)) == "Nothing is waiting"


def test_operators_read_reasons_and_find_the_status() -> None:
    assert reason_words("http_503") == "The lookup service answered with an error (503)"
    assert reason_words("timeout") == "The lookup service did not answer in time"
    assert reason_words("of_a_later_version") == "of_a_later_version"


@pytest.mark.parametrize(("code", "said"), [("lost_digits", "Digits lost"), ("cancelled", "Not looked up")])
def test_a_row_says_briefly_what_is_wrong(code: str, said: str) -> None:
    error = RowError.model_validate({"code": code})
    state = "rejected" if code == "lost_digits" else "unprocessed"
    row = Row.model_validate(
        {"row": 1, "line": 2, "state": state, "phone": None, "cells": (), "result": None, "error": error.model_dump()}
    )
    assert row_words(row) == said


def test_every_state_has_its_words() -> None:
    assert set(GATE_STATES) == set(get_args(GateState))
    assert set(CONDITIONS) == set(get_args(PartCondition))
    assert set(BAD_REASONS) == set(get_args(BadReason))
    assert set(ROW_STATES) == set(get_args(RowState))
    assert set(VERDICTS) == set(get_args(Verdict))
    assert set(LINE_TYPES) == set(get_args(LineType))
    commands = {get_args(event.model_fields["type"].annotation)[0] for event in UploadEventBase.__subclasses__()}
    assert set(ACTIONS) == commands - BY_THE_FEEDER - {"operator_acted"} | set(
        get_args(OperatorActed.model_fields["action"].annotation)
    )


def test_a_state_of_a_later_version_is_shown_as_it_is() -> None:
    assert gate_words(cast(GateState, "later")).state == "later"
    assert condition_words(cast(PartCondition, "later")).words == "later"
    assert format_words("parquet") == "parquet"

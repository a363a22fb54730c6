"""What an upload's events mean: which of them count, and where they leave the upload."""

from dataclasses import replace
from datetime import timedelta

import pytest

from schemas.upload_events import (
    CancelUpload,
    Failures,
    RetryFailed,
    UploadEvent,
    UploadFed,
    UploadOpened,
    UploadRefused,
)
from schemas.uploads import UploadOptions, UploadState
from services.assembler.lifecycle import Announced, fold, standing_of
from services.assembler.store.records import UploadRecord
from services.assembler.store.values import EPOCH
from tests.fixtures.ids import upload_id
from tests.unit.assembler.join_log import START, Log, Reader
from tests.unit.assembler.test_joining import World

U = upload_id("upload-1")
DAY = 86_400


@pytest.fixture
def opened() -> UploadRecord:
    world = World(Reader(Log()))
    world.open(U)
    world.reader.read_all()
    return world.reader.upload(U)


def folded(record: UploadRecord, *events: UploadEvent, announced: Announced | None = None) -> UploadRecord:
    for event in events:
        record = fold(record, event, max_age_seconds=DAY, announced=announced)
    return record


def after(seconds: int) -> dict[str, object]:
    return {"upload_id": U, "at": START + timedelta(seconds=seconds), "by": "jane"}


def test_the_first_opening_of_an_id_counts(opened: UploadRecord) -> None:
    again = UploadOpened.model_validate(after(9) | {"name": "b.csv", "owner": "mallory"})
    assert folded(opened, again) == opened


def test_repeating_a_round_changes_nothing(opened: UploadRecord) -> None:
    first = RetryFailed.model_validate(after(9) | {"round": 1, "only": Failures(error_code="timeout")})
    retried = folded(opened, first)
    assert (retried.round, retried.full_round) == (1, 0)
    for again in (first, RetryFailed.model_validate(after(10) | {"round": 1})):
        assert folded(retried, again) == retried


@pytest.mark.parametrize(("stored", "state"), [(1, "in_progress"), (2, "completed"), (3, "completed")])
def test_it_is_complete_when_everything_fed_is_stored(opened: UploadRecord, stored: int, state: str) -> None:
    fed = folded(opened, UploadFed.model_validate(after(9) | {"rows": 2, "rejected": 0}))
    assert standing_of(replace(fed, answered=stored)).state == state


def done_at(record: UploadRecord, seconds: int) -> UploadRecord:
    """Everything was stored and answered by then."""
    fed = folded(record, UploadFed.model_validate(after(1) | {"rows": 2, "rejected": 0}))
    return replace(fed, answered=2, last_settled_at=START + timedelta(seconds=seconds))


@pytest.mark.parametrize(("cancelled", "state"), [(9, "cancelled"), (10, "completed"), (11, "completed")])
def test_a_cancellation_after_everything_was_done_stops_nothing(
    opened: UploadRecord, cancelled: int, state: str
) -> None:
    record = folded(done_at(opened, 10), CancelUpload.model_validate(after(cancelled)))
    assert standing_of(record).state == state
    waiting = replace(record, answered=1, waiting=1)
    assert standing_of(waiting).state == "cancelled"


@pytest.mark.parametrize("state", ["completed", "failed", "cancelled"])
def test_an_end_that_was_announced_stands(opened: UploadRecord, state: UploadState) -> None:
    announced = Announced(state, START + timedelta(seconds=20))
    record = folded(done_at(opened, 10), CancelUpload.model_validate(after(5)), announced=announced)
    assert standing_of(record, announced) == (state, announced.at)


def test_a_cancellation_that_crossed_the_end_takes_back_no_answer(opened: UploadRecord) -> None:
    announced = Announced("completed", START + timedelta(seconds=20))
    record = folded(done_at(opened, 20), CancelUpload.model_validate(after(5)), announced=announced)
    assert record.cancelled_at == announced.at


def test_a_refusal_after_the_end_changes_nothing(opened: UploadRecord) -> None:
    announced = Announced("completed", START + timedelta(seconds=20))
    refused = UploadRefused.model_validate(after(30) | {"code": "x", "title": "No", "detail": "No."})
    record = done_at(opened, 20)
    assert folded(record, refused, announced=announced) == record
    assert folded(record, refused).refused is not None


def test_answers_of_any_age_are_accepted_from_1970_on(opened: UploadRecord) -> None:
    event = UploadOpened.model_validate(
        after(1) | {"at": EPOCH, "name": "a", "owner": "jane", "options": UploadOptions(max_age_seconds=DAY)}
    )
    blank = replace(opened, created_at=None, wanted_at=None, accept_since=None)
    assert folded(blank, event).accept_since == EPOCH
    old = replace(blank, options=f'{{"max_age_seconds": {10**14}}}', created_at=START)
    assert fold(old, event, max_age_seconds=10**14) == old

"""What the feeder does for an upload, decided from its events alone."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.upload_events import (
    CancelUpload,
    DeleteUpload,
    SetOptions,
    SetPriority,
    StartUpload,
    UploadEvent,
    UploadFed,
    UploadRefused,
)
from schemas.uploads import FeedCheckpoint, UploadOptions
from schemas.values import EARLIEST, LONGEST_MAX_AGE_SECONDS
from services.ingest.feeder.upload_state import FeederUpload, fold, next_step, usable_checkpoint
from tests.unit.ingest.builders import START, U, at, checked, opened

CHECK = f"{U}.0"
DAY_SECONDS = 86_400


def after(*events: UploadEvent) -> FeederUpload:
    upload: FeederUpload | None = None
    for offset, event in enumerate(events):
        upload = fold(upload, event, offset=offset)
    assert upload is not None
    return upload


def start(seconds: float = 0, **more: int) -> StartUpload:
    return StartUpload.model_validate({"upload_id": U, "at": at(seconds), **more})


def set_options(**options: object) -> SetOptions:
    return SetOptions(upload_id=U, at=at(50), options=UploadOptions.model_validate(options))


def cancel() -> CancelUpload:
    return CancelUpload(upload_id=U, at=at(9))


@pytest.mark.parametrize(
    ("events", "step"),
    [
        ((opened(),), "check"),
        ((opened(), checked(CHECK)), "feed"),
        ((opened(start=False), checked(CHECK)), "wait"),
        ((opened(start=False), start()), "check"),
        ((opened(start=False), checked(CHECK), start()), "feed"),
        ((opened(start=False), checked(CHECK), set_options(region="GB")), "check"),
        ((opened(start=False), set_options(region="GB"), checked(CHECK)), "check"),
        ((opened(start=False), set_options(region="GB"), checked(f"{U}.1")), "wait"),
        ((opened(), checked(CHECK), set_options(region="GB")), "feed"),
        ((opened(start=False), cancel()), "check"),
        ((opened(start=False), cancel(), checked(CHECK)), "feed"),
        ((opened(), checked(CHECK), UploadFed(upload_id=U, at=START, rows=1, rejected=0)), "nothing"),
        ((opened(), UploadRefused(upload_id=U, at=START, code="x", title="x", detail="x"), start()), "nothing"),
        ((opened(), checked(CHECK), DeleteUpload(upload_id=U, at=START)), "nothing"),
        ((opened(file=None),), "nothing"),
    ],
)
def test_the_next_step_follows_from_the_events(events: tuple[UploadEvent, ...], step: str) -> None:
    assert next_step(after(*events)) == step


def test_the_first_opening_of_an_id_counts() -> None:
    first, second = opened(seconds=1), opened(seconds=2, start=False, region="GB")
    assert after(first, second) == after(first)


def test_the_first_start_sets_the_time_and_the_caps() -> None:
    upload = after(opened(start=False), start(5, max_calls=7), start(9, max_calls=1, sample_rows=2))
    assert (upload.started_at, upload.max_calls, upload.sample_rows) == (at(5), 7, None)


def test_answers_are_young_enough_relative_to_the_start() -> None:
    upload = after(opened(start=False, max_age_seconds=60), start(500))
    assert upload.accept_since(default_max_age_seconds=1) == at(440)
    default = after(opened(seconds=100))
    assert default.accept_since(default_max_age_seconds=DAY_SECONDS) == at(100) - timedelta(days=1)


def test_before_the_start_the_plan_counts_from_when_the_check_was_asked_for() -> None:
    upload = after(opened(start=False), set_options(max_age_seconds=10))
    assert upload.accept_since(default_max_age_seconds=1) == at(40)


def test_a_priority_set_later_holds() -> None:
    assert after(opened(priority=3), SetPriority(upload_id=U, at=START, priority=1)).priority == 1


def test_a_checkpoint_of_another_reading_is_not_used() -> None:
    upload = after(opened(start=False), set_options(region="GB"), checked(f"{U}.1"))
    assert upload.checked is not None
    checkpoint = FeedCheckpoint(
        upload_id=U,
        check_id=f"{U}.1",
        detected=upload.checked.detected,
        options=upload.options,
        counts=upload.checked.counts,
        next_row=5,
        rejected=0,
        at=START,
    )
    assert usable_checkpoint(upload, checkpoint, rows=10) == checkpoint
    assert usable_checkpoint(upload, checkpoint.model_copy(update={"check_id": CHECK}), rows=10) is None
    assert usable_checkpoint(upload, None, rows=10) is None


EVENTS = st.sampled_from(
    [
        opened(start=False),
        opened(),
        checked(CHECK),
        checked(f"{U}.1"),
        start(5),
        set_options(region="GB"),
        cancel(),
        SetPriority(upload_id=U, at=START, priority=1),
        UploadFed(upload_id=U, at=START, rows=1, rejected=0),
        DeleteUpload(upload_id=U, at=START),
    ]
)


@given(st.lists(EVENTS, max_size=10))
def test_reading_our_own_events_twice_changes_nothing(events: list[UploadEvent]) -> None:
    upload: FeederUpload | None = None
    for offset, event in enumerate(events):
        upload = fold(upload, event, offset=offset)
        if not isinstance(event, SetOptions):
            assert fold(upload, event, offset=offset + 1) == upload


@given(st.lists(EVENTS, max_size=10))
def test_nothing_brings_an_ended_upload_back(events: list[UploadEvent]) -> None:
    upload: FeederUpload | None = after(opened(), DeleteUpload(upload_id=U, at=START))
    for offset, event in enumerate(events):
        upload = fold(upload, event, offset=offset)
    assert upload is not None
    assert next_step(upload) == "nothing"


@pytest.mark.parametrize(("next_row", "rejected"), [(12, 0), (2**31 - 1, 0), (5, 5)])
def test_a_checkpoint_beyond_the_file_is_none(next_row: int, rejected: int) -> None:
    upload = after(opened(), checked(CHECK))
    outcome = checked(CHECK)
    beyond = FeedCheckpoint(
        upload_id=U,
        check_id=CHECK,
        detected=outcome.detected,
        options=outcome.options,
        counts=outcome.counts,
        next_row=next_row,
        rejected=rejected,
        at=START,
    )
    assert usable_checkpoint(upload, beyond, rows=10) is None
    assert usable_checkpoint(upload, beyond.model_copy(update={"next_row": 11, "rejected": 10}), rows=10) is not None


@pytest.mark.parametrize("seconds", [LONGEST_MAX_AGE_SECONDS, 10**11, 10**30])
def test_no_answer_has_to_be_younger_than_1970(seconds: int) -> None:
    upload = after(opened(start=False), StartUpload(upload_id=U, at=EARLIEST))
    assert upload.accept_since(default_max_age_seconds=seconds) == EARLIEST

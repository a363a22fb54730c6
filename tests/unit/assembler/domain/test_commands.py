"""Commands: repeating one changes nothing, and a wrong state is refused with what can be done instead."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.upload_events import (
    CancelUpload,
    DeleteUpload,
    PauseUpload,
    ResumeUpload,
    RetryFailed,
    SetOptions,
    SetPriority,
    StartUpload,
)
from schemas.uploads import FINISHED, UploadOptions, UploadState
from services.assembler.domain import commands
from services.assembler.domain.commands import CommandAccepted, CommandDecision, CommandRefused, Target
from tests.fixtures.ids import upload_id

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
U = upload_id("u")
STATES: tuple[UploadState, ...] = get_args(UploadState)


def target(state: UploadState, *, round_: int = 0, failed: int = 0, started: bool | None = None) -> Target:
    was_started = state not in ("pending", "checking", "checked") if started is None else started
    return Target(U, state, round_, failed, was_started, UploadOptions(start=False))


def events_of(decision: CommandDecision) -> list[type]:
    assert isinstance(decision, CommandAccepted)
    return [type(event) for event in decision.events]


def start(of: Target) -> CommandDecision:
    return commands.start(of, by="a", now=NOW, max_calls=5, sample_rows=None)


def test_a_checked_upload_starts_with_its_cap() -> None:
    decision = start(target("checked"))
    assert isinstance(decision, CommandAccepted)
    event = decision.events[0]
    assert isinstance(event, StartUpload)
    assert (event.max_calls, event.by, event.at) == (5, "a", NOW)


@pytest.mark.parametrize("state", ["in_progress", "paused", "completed", "cancelled"])
def test_starting_what_was_started_changes_nothing(state: UploadState) -> None:
    assert events_of(start(target(state))) == []


@pytest.mark.parametrize("state", ["pending", "checking"])
def test_what_is_still_being_read_cannot_be_started(state: UploadState) -> None:
    assert isinstance(start(target(state)), CommandRefused)


def test_what_is_read_and_will_start_by_itself_counts_as_started() -> None:
    assert events_of(start(target("checking", started=True))) == []


def test_pause_and_resume_undo_each_other_and_repeat_without_effect() -> None:
    assert events_of(commands.pause(target("in_progress"), by="a", now=NOW)) == [PauseUpload]
    assert events_of(commands.pause(target("paused"), by="a", now=NOW)) == []
    assert events_of(commands.resume(target("paused"), by="a", now=NOW)) == [ResumeUpload]
    assert events_of(commands.resume(target("in_progress"), by="a", now=NOW)) == []


@pytest.mark.parametrize("state", ["pending", "checking", "checked", *FINISHED])
def test_only_what_moves_can_be_paused(state: UploadState) -> None:
    assert isinstance(commands.pause(target(state), by="a", now=NOW), CommandRefused)
    assert isinstance(commands.resume(target(state), by="a", now=NOW), CommandRefused)


@pytest.mark.parametrize("state", ["pending", "checking", "checked", "in_progress", "paused"])
def test_everything_unfinished_can_be_cancelled_once(state: UploadState) -> None:
    assert events_of(commands.cancel(target(state), by="a", now=NOW)) == [CancelUpload]
    assert events_of(commands.cancel(target("cancelled"), by="a", now=NOW)) == []
    assert isinstance(commands.cancel(target("completed"), by="a", now=NOW), CommandRefused)


def test_failed_rows_are_retried_as_the_next_round() -> None:
    decision = commands.retry_failed(target("completed", round_=1, failed=3), by="a", now=NOW, force=False)
    assert isinstance(decision, CommandAccepted)
    event = decision.events[0]
    assert isinstance(event, RetryFailed)
    assert event.round == 2


def test_a_retry_under_way_is_not_begun_again() -> None:
    running = target("in_progress", round_=1, failed=3)
    assert events_of(commands.retry_failed(running, by="a", now=NOW, force=False)) == []


def test_after_three_rounds_a_retry_has_to_be_forced() -> None:
    tried = target("completed", round_=3, failed=1)
    assert isinstance(commands.retry_failed(tried, by="a", now=NOW, force=False), CommandRefused)
    assert events_of(commands.retry_failed(tried, by="a", now=NOW, force=True)) == [RetryFailed]


def test_nothing_failed_means_nothing_to_retry() -> None:
    assert isinstance(commands.retry_failed(target("completed"), by="a", now=NOW, force=True), CommandRefused)


def test_what_was_cancelled_too_late_is_completed_and_not_tried_again() -> None:
    late = replace(target("completed", failed=3), cancelled=True)
    assert isinstance(commands.retry_failed(late, by="a", now=NOW, force=True), CommandRefused)
    assert isinstance(commands.retry_failed(target("cancelled", failed=2), by="a", now=NOW, force=True), CommandRefused)


def test_options_change_until_the_start() -> None:
    other = UploadOptions(start=False, region="GB")
    assert events_of(commands.set_options(target("checked"), other, by="a", now=NOW)) == [SetOptions]
    same = UploadOptions(start=False)
    assert events_of(commands.set_options(target("checked"), same, by="a", now=NOW)) == []
    assert isinstance(commands.set_options(target("in_progress"), other, by="a", now=NOW), CommandRefused)


@pytest.mark.parametrize("state", FINISHED)
def test_a_finished_uploads_priority_no_longer_matters(state: UploadState) -> None:
    assert isinstance(commands.set_priority(target(state), 1, by="a", now=NOW), CommandRefused)
    assert events_of(commands.set_priority(target("paused"), 1, by="a", now=NOW)) == [SetPriority]


def test_deleting_stops_first_what_is_unfinished() -> None:
    assert events_of(commands.delete(target("in_progress"), by="a", now=NOW)) == [CancelUpload, DeleteUpload]
    assert events_of(commands.delete(target("completed"), by="a", now=NOW)) == [DeleteUpload]


@given(st.sampled_from(STATES), st.integers(0, 5), st.integers(0, 5))
def test_what_is_accepted_leads_somewhere_and_what_is_refused_says_why(
    state: UploadState, round_: int, failed: int
) -> None:
    of = target(state, round_=round_, failed=failed)
    decisions = (
        start(of),
        commands.pause(of, by="a", now=NOW),
        commands.resume(of, by="a", now=NOW),
        commands.cancel(of, by="a", now=NOW),
        commands.retry_failed(of, by="a", now=NOW, force=False),
    )
    for decision in decisions:
        if isinstance(decision, CommandRefused):
            assert decision.detail.endswith(".")
        else:
            assert decision.expect
            assert all(event.upload_id == U for event in decision.events)


def test_rounds_end_where_they_can_no_longer_be_counted() -> None:
    last = target("completed", round_=2**31 - 1, failed=1)
    assert isinstance(commands.retry_failed(last, by="a", now=NOW, force=True), CommandRefused)
    before = target("completed", round_=2**31 - 2, failed=1)
    assert events_of(commands.retry_failed(before, by="a", now=NOW, force=True)) == [RetryFailed]

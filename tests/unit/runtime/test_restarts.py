"""What a part says of the process before it: how often it was started of late, and why it ended."""

from datetime import UTC, datetime, timedelta

import pytest

from schemas.parts import PartState, PartStatus, keeps_restarting
from services.runtime.restarts import KILLED, end_by, past_of

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def part(
    *seconds_ago: float, state: PartState = "running", error: str | None = None, last_end: str | None = None
) -> PartStatus:
    """One that was started so many seconds ago, the last start last."""
    starts = tuple(NOW - timedelta(seconds=each) for each in seconds_ago)
    return PartStatus(
        role="join",
        instance="1",
        pid=1,
        state=state,
        active=True,
        started_at=starts[-1],
        seen_at=NOW,
        error=error,
        starts=starts,
        last_end=last_end,
    )


def test_the_first_process_has_no_past() -> None:
    assert past_of(None, now=NOW).starts == (NOW,)
    assert past_of(None, now=NOW).last_end is None


def test_starts_of_the_last_five_minutes_and_the_one_before_are_remembered() -> None:
    past = past_of(part(900, 301, 299, 10), now=NOW)
    assert past.starts == (*(NOW - timedelta(seconds=ago) for ago in (301, 299, 10)), NOW)


def test_a_process_of_an_older_version_counts_by_its_own_start() -> None:
    older = part(20).model_copy(update={"starts": ()})
    assert past_of(older, now=NOW).starts == (NOW - timedelta(seconds=20), NOW)


def test_however_often_it_is_started_the_list_is_bounded() -> None:
    status = part(5)
    for _ in range(100):
        status = status.model_copy(update={"starts": past_of(status, now=NOW).starts})
    assert len(status.starts) == 20


def test_an_error_that_ended_it_is_told() -> None:
    last_word = part(10, state="stopping", error=end_by(OverflowError("+14155550100")))
    assert past_of(last_word, now=NOW).last_end == "ended by OverflowError"


def test_a_group_of_errors_is_told_by_its_members() -> None:
    group = ExceptionGroup("work", [ExceptionGroup("inner", [KeyError("x")]), ValueError("y"), KeyError("z")])
    assert end_by(group) == "ended by KeyError, ValueError"


@pytest.mark.parametrize("error", [None, "Kafka does not answer"])
def test_a_planned_end_is_no_failure(error: str | None) -> None:
    assert past_of(part(10, state="stopping", error=error), now=NOW).last_end is None


def test_a_process_that_was_killed_said_nothing() -> None:
    assert past_of(part(10), now=NOW).last_end == KILLED


def test_more_than_three_restarts_within_five_minutes_are_too_many() -> None:
    assert not keeps_restarting(part(299, 200, 100, 1), NOW)
    assert keeps_restarting(part(299, 200, 100, 50, 1), NOW)
    assert not keeps_restarting(part(302, 301, 200, 100, 50), NOW)


def test_of_a_part_that_ran_for_long_every_start_of_late_is_a_restart() -> None:
    assert keeps_restarting(part(90_000, 200, 100, 50, 1), NOW)
    assert not keeps_restarting(part(90_000, 200, 100, 50), NOW)

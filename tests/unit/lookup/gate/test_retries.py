"""How long a phone waits between its attempts, and what of them is kept."""

from datetime import timedelta

import pytest

from schemas.lookups import AttemptError, PaidCalls
from services.lookup.gate.retries import (
    FIRST_DELAY_SECONDS,
    KEPT_ERRORS,
    LONGEST_DELAY_SECONDS,
    MOST_PAYERS,
    NEW,
    GiveUp,
    History,
    RetryAt,
    backoff_seconds,
    decide,
)
from services.lookup.providers.protocol import LONGEST_RETRY_AFTER_SECONDS
from tests.unit.lookup.gate.requests import NOW, id_of, phone


def error(number: int) -> AttemptError:
    at = NOW + timedelta(seconds=number)
    return AttemptError(error_class="wait", code="http_500", detail=f"failure {number}", at=at)


def failed(times: int) -> History:
    history = NEW
    for number in range(times):
        history = history.failed(error(number), counts=True)
    return history


def delay(
    history: History, *, jitter: float = 0.0, retry_after_seconds: float | None = None, at_least_seconds: float = 0.0
) -> float:
    decision = decide(
        history,
        now=NOW,
        max_attempts=1_000,
        jitter=jitter,
        retry_after_seconds=retry_after_seconds,
        at_least_seconds=at_least_seconds,
    )
    assert isinstance(decision, RetryAt)
    return (decision.at - NOW).total_seconds()


def test_a_backoff_doubles_up_to_a_minute_and_stays_there_however_many_attempts() -> None:
    longest = [2 * backoff_seconds(attempts, 0.0) for attempts in (0, 1, 2, 3, 6, 7, 8, 5_000)]
    assert longest == [FIRST_DELAY_SECONDS, 1, 2, 4, 32, LONGEST_DELAY_SECONDS, LONGEST_DELAY_SECONDS, 60]


def test_the_upper_half_of_a_backoff_is_random() -> None:
    assert [backoff_seconds(2, jitter) for jitter in (0.0, 0.5, 0.998)] == pytest.approx([1, 1.5, 1.998])


@pytest.mark.parametrize(
    ("asked", "at_least", "seconds"),
    [
        (None, 0, 0.5),
        (0.25, 0, 0.5),
        (90, 0, 90),
        (90, 120, 120),
        (1e9, 0, LONGEST_RETRY_AFTER_SECONDS),
        (None, 61, 61),
    ],
)
def test_the_longest_of_what_backoff_provider_and_gate_ask_for_counts(
    asked: float | None, at_least: float, seconds: float
) -> None:
    assert delay(failed(1), retry_after_seconds=asked, at_least_seconds=at_least) == seconds


def test_the_last_attempt_is_the_one_that_was_allowed_last() -> None:
    decisions = [
        decide(failed(times), now=NOW, max_attempts=3, jitter=0.0, retry_after_seconds=None) for times in (2, 3, 4)
    ]
    assert [isinstance(decision, GiveUp) for decision in decisions] == [False, True, True]


def test_the_first_failure_and_the_latest_are_kept() -> None:
    exactly, more = failed(KEPT_ERRORS), failed(KEPT_ERRORS + 5)
    assert [each.detail for each in exactly.errors] == [f"failure {number}" for number in range(KEPT_ERRORS)]
    kept = [0, *range(6, KEPT_ERRORS + 5)]
    assert [each.detail for each in more.errors] == [f"failure {number}" for number in kept]
    assert more.attempts == KEPT_ERRORS + 5
    assert more.last_error_at == error(KEPT_ERRORS + 4).at
    assert NEW.last_error_at is None


def test_a_failure_that_does_not_count_is_kept_all_the_same() -> None:
    history = failed(2).failed(error(2), counts=False)
    assert (history.attempts, len(history.errors)) == (2, 3)


def test_no_more_attempts_are_forgiven_than_there_were() -> None:
    assert [failed(3).forgiven(attempts).attempts for attempts in (0, 2, 3, 4)] == [3, 1, 0, 0]


def test_each_payers_calls_are_counted_apart() -> None:
    history = NEW.paid_by(id_of("u1")).paid_by(id_of("u2")).paid_by(id_of("u1"))
    assert history.calls == (PaidCalls(upload_id=id_of("u1"), calls=2), PaidCalls(upload_id=id_of("u2"), calls=1))
    assert history.accounted().calls == ()


def test_a_hundred_payers_are_few_enough_for_one_record() -> None:
    history = NEW
    for number in range(MOST_PAYERS):
        history = history.paid_by(id_of(f"u{number}"))
    assert not history.has_many_payers
    assert history.paid_by(id_of("one more")).has_many_payers


def test_the_next_gate_reads_the_history_that_this_one_wrote() -> None:
    history = failed(3).paid_by(id_of("u1")).until(NOW + timedelta(seconds=9))
    assert History.of(history.to_retry(phone(1))) == history
    assert history.to_retry(phone(1)).phone == phone(1)

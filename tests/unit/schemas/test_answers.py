"""The answer rule: one function for worker, gate and join, whose outcome may not depend on the order of reading."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from schemas.answers import Want, answers, first_answer
from schemas.lookups import Answered, LookupResult, Outcome
from tests.fixtures.ids import upload_id

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PHONE = "+14155550100"


def result(outcome: Outcome = "ok", *, minutes: int = 0, names: tuple[tuple[str, int], ...] = ()) -> LookupResult:
    return LookupResult(
        phone=PHONE,
        outcome=outcome,
        provider="generic",
        looked_up_at=NOON + timedelta(minutes=minutes),
        attempts=1,
        answers=tuple(Answered(upload_id=upload_id(name), round=round_) for name, round_ in names),
    )


def want(name: str = "a", *, round_: int = 0, since: int = 0, cancelled: int | None = None) -> Want:
    cancelled_at = None if cancelled is None else NOON + timedelta(minutes=cancelled)
    return Want(upload_id(name), round_, NOON + timedelta(minutes=since), cancelled_at)


def test_known_data_is_reused_when_it_is_fresh_enough() -> None:
    assert answers(result(minutes=0), want(since=0))
    assert not answers(result(minutes=-1), want(since=0))


def test_a_number_known_as_not_valid_is_reused_too() -> None:
    assert answers(result("not_valid"), want("another upload"))


def test_data_answers_the_upload_that_paid_for_it_whatever_the_clocks_say() -> None:
    assert answers(result(minutes=-500, names=(("a", 0),)), want("a", since=0))


def test_a_failure_is_never_reused_by_another_upload() -> None:
    failure = result("failed", minutes=5, names=(("a", 0),))
    assert answers(failure, want("a"))
    assert not answers(failure, want("b"))


def test_a_failure_of_an_earlier_round_does_not_answer_a_retry() -> None:
    failure = result("failed", names=(("a", 0),))
    assert not answers(failure, want("a", round_=1))
    assert answers(result("failed", names=(("a", 2),)), want("a", round_=1))


def test_after_its_cancellation_an_upload_takes_no_more_of_what_others_pay_for() -> None:
    assert answers(result(minutes=4), want(since=0, cancelled=5))
    assert answers(result(minutes=5), want(since=0, cancelled=5)), "at the same moment it was there"
    assert not answers(result(minutes=6), want(since=0, cancelled=5))


def test_data_beats_a_failure_whichever_came_first() -> None:
    failure, data = result("failed", names=(("a", 0),)), result(minutes=3)
    assert first_answer([failure, data], want()) == data
    assert first_answer([data, failure], want()) == data


def test_the_first_data_in_the_log_stands() -> None:
    first, second = result(minutes=1), result("not_valid", minutes=2)
    assert first_answer([first, second], want()) == first


some_results = st.lists(
    st.builds(
        result,
        st.sampled_from(["ok", "not_valid", "failed"]),
        minutes=st.integers(-10, 10),
        names=st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 2)), max_size=2).map(tuple),
    ),
    max_size=6,
)
some_wants = st.builds(
    want,
    st.sampled_from("abc"),
    round_=st.integers(0, 2),
    since=st.integers(-10, 10),
    cancelled=st.none() | st.integers(-10, 10),
)


@given(some_results, some_wants)
def test_reading_a_log_bit_by_bit_ends_with_the_same_answer(log: list[LookupResult], wanted: Want) -> None:
    """What stands after each prefix, offered together with the rest, leads to what the whole log says."""
    for cut in range(len(log) + 1):
        stands = first_answer(log[:cut], wanted)
        resumed = ([] if stands is None else [stands]) + log[cut:]
        assert first_answer(resumed, wanted) == first_answer(log, wanted)


@given(some_results, some_wants)
def test_an_answered_row_stays_answered_as_the_log_grows(log: list[LookupResult], wanted: Want) -> None:
    stood: LookupResult | None = None
    for length in range(len(log) + 1):
        stands = first_answer(log[:length], wanted)
        if stood is not None and stood.outcome != "failed":
            assert stands == stood
        stood = stands

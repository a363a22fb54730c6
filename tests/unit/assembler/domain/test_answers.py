"""Which stored result a row has, what partial rounds ask of it, and what is remembered of phones."""

from datetime import timedelta

import pytest

from schemas.lookups import Outcome
from schemas.upload_events import Failures
from services.assembler.domain.answers import (
    AnswerCandidate,
    CandidateCache,
    PartialRound,
    UploadWant,
    candidate_of,
    judge,
)
from services.assembler.domain.row_state import State
from services.assembler.domain.stored_numbers import result_id
from tests.fixtures.ids import upload_id
from tests.unit.assembler.join.join_log import PHONES, START, lookup_result

U, OTHER = upload_id("u"), upload_id("other")
P, Q, R = PHONES[:3]


def candidate(
    outcome: Outcome = "ok", *names: tuple[str, int], seconds: int = 0, offset: int = 0, error_code: str = "timeout"
) -> AnswerCandidate:
    at = START + timedelta(seconds=seconds)
    result = lookup_result(P, outcome, at=at, answers=names, error_code=error_code)
    return candidate_of(result, partition=1, offset=offset)


def want(*partial_rounds: PartialRound, round_: int = 0, cancelled: int | None = None) -> UploadWant:
    cancelled_at = None if cancelled is None else START + timedelta(seconds=cancelled)
    return UploadWant(U, round_, START, cancelled_at, partial_rounds)


def test_a_candidate_has_what_the_rule_and_the_tallies_read() -> None:
    ok = candidate("ok", (U, 0), (OTHER, 2), offset=7)
    assert (ok.id, ok.outcome, ok.looked_up_at, ok.answers) == (result_id(1, 7), "ok", START, ((U, 0), (OTHER, 2)))
    assert [(named.upload_id, named.round) for named in ok.answers] == [(U, 0), (OTHER, 2)]
    assert (ok.verdict, ok.line_type, ok.error_code) == ("ok", "mobile", None)
    failed = candidate("failed", (U, 0), error_code="http_500")
    assert (failed.verdict, failed.line_type, failed.error_code) == (None, None, "http_500")
    assert (candidate("not_valid").verdict, candidate("not_valid").line_type) == ("not_valid", None)


@pytest.mark.parametrize(
    "other",
    [
        candidate("ok", (U, 0), seconds=1),
        candidate("not_valid", (U, 0)),
        candidate("ok", (U, 1)),
        candidate("ok", (U, 0), (OTHER, 0)),
    ],
)
def test_a_result_repeats_another_that_is_the_same_but_for_its_place(other: AnswerCandidate) -> None:
    result = candidate("ok", (U, 0))
    assert candidate("ok", (U, 0), offset=9).repeats(result)
    assert not other.repeats(result)


def test_a_row_has_the_first_result_that_answers_it() -> None:
    old, first, second = candidate(seconds=-1), candidate(seconds=0), candidate(seconds=1, offset=1)
    assert judge((), want()) == (State.waiting, None)
    assert judge((first,), None) == (State.waiting, None)
    assert judge((old,), want()) == (State.waiting, None)
    assert judge((first, second), want()) == (State.answered, first)
    assert judge((old, second), want()) == (State.answered, second)
    named = candidate("ok", (U, 0), seconds=-9)
    assert judge((named, first), want()) == (State.answered, named)


def test_a_failure_stands_until_there_is_data() -> None:
    failure, data = candidate("failed", (U, 0)), candidate(offset=1)
    assert judge((failure,), want()) == (State.failed, failure)
    assert judge((failure, data), want()) == (State.answered, data)
    assert judge((failure,), want(round_=1)) == (State.waiting, None)


def test_what_came_after_the_cancellation_answers_no_row_that_it_does_not_name() -> None:
    at_that_moment, later = candidate(seconds=5), candidate(seconds=6)
    assert judge((at_that_moment,), want(cancelled=5)) == (State.answered, at_that_moment)
    assert judge((later,), want(cancelled=5)) == (State.waiting, None)


TIMEOUTS = Failures(error_code="timeout")


def test_a_partial_round_asks_again_for_the_failures_that_were_meant() -> None:
    meant, other = candidate("failed", (U, 0)), candidate("failed", (U, 0), error_code="http_500")
    for partial in (PartialRound(1, TIMEOUTS), PartialRound(1, None, (Failures(error_code="http_500"),))):
        assert partial.includes(meant)
        assert not partial.includes(other)
        assert judge((meant,), want(partial)) == (State.waiting, None)
        assert judge((other,), want(partial)) == (State.failed, other)
    but_none = PartialRound(1, TIMEOUTS, (TIMEOUTS,))
    assert judge((meant,), want(but_none)) == (State.failed, meant)
    before = PartialRound(1, Failures(before=START))
    assert not before.includes(meant), "it failed at that time, which is not before it"
    assert before.includes(candidate("failed", (U, 0), seconds=-1))


def test_each_partial_round_is_about_the_failure_before_it() -> None:
    first = candidate("failed", (U, 0))
    second = candidate("failed", (U, 1), seconds=1, offset=1, error_code="http_500")
    once, twice = (PartialRound(1, TIMEOUTS),), (PartialRound(1, TIMEOUTS), PartialRound(2, TIMEOUTS))
    assert judge((first, second), want(*once)) == (State.failed, second)
    assert judge((first, second), want(*twice)) == (State.failed, second)
    assert judge((first, second), want(*once, PartialRound(2, None))) == (State.waiting, None)
    assert judge((first,), want(*twice)) == (State.waiting, None)
    data = candidate("ok", (U, 0), seconds=-9)
    assert judge((data,), want(*twice)) == (State.answered, data), "data is not asked for again"


KNOWN = (candidate(),)


def test_what_is_remembered_of_a_phone_grows_with_its_results() -> None:
    cache, new = CandidateCache(), candidate(offset=1)
    assert cache.get(P) is None
    cache.put_all({P: KNOWN, Q: ()})
    assert (cache.get(P), cache.get(Q), len(cache)) == (KNOWN, (), 2)
    for phone in (P, Q, R):
        cache.add(phone, new)
    assert (cache.get(P), cache.get(Q)) == ((*KNOWN, new), (new,))
    assert cache.get(R) is None, "of a phone that is not remembered SQL may hold more"
    cache.forget(P)
    cache.forget(R)
    assert (cache.get(P), cache.get(Q)) == (None, (new,))
    cache.clear()
    assert (cache.get(Q), len(cache)) == (None, 0)


def test_memory_is_bounded_and_keeps_what_is_used() -> None:
    cache = CandidateCache(4)
    for number in range(100):
        cache.put_all({P: KNOWN, str(number): ()} if number == 0 else {str(number): ()})
        assert cache.get(P) == KNOWN
        assert len(cache) <= 6
    assert cache.get("99") == ()
    assert cache.get("0") is None


def test_a_phone_that_has_aged_is_forgotten_and_cleared_like_others() -> None:
    for end in (CandidateCache.clear, lambda cache: cache.forget(P)):
        cache = CandidateCache(4)
        cache.put_all({P: KNOWN, Q: (), R: (), PHONES[3]: ()})
        end(cache)
        assert cache.get(P) is None


def test_a_memory_for_nothing_remembers_next_to_nothing() -> None:
    cache = CandidateCache(0)
    cache.put_all(dict.fromkeys(PHONES, KNOWN))
    assert len(cache) <= 2

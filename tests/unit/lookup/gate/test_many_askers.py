"""One phone that thousands of uploads wait for: every record fits, everybody is settled, and no step is long."""

import gc
import tracemalloc
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import MAX_VALUE_BYTES, decode, encode
from schemas.lookups import DeadLetter, LookupResult, LookupRetry
from services.lookup.gate.call_outcome import MOST_ANSWERS, CallOutcome, shorter, shorter_results
from services.lookup.gate.retries import MOST_PAYERS
from services.lookup.providers.protocol import Reply
from tests.unit.lookup.gate.bench import BROKEN, OK, Bench
from tests.unit.lookup.gate.requests import NOW, phone, request

pytestmark = pytest.mark.hostile

LONGEST_OWNER = "\x01" * 200
"""JSON takes six bytes for each of these."""


def crowd(askers: int, *, max_attempts: int = 6) -> Bench:
    bench = Bench(max_attempts=max_attempts)
    for number in range(askers):
        bench.want(request(1, f"u{number}", owner=LONGEST_OWNER))
    return bench


def fits(records: CallOutcome) -> bool:
    letters = [records.dead_letter] if records.dead_letter is not None else []
    values = [encode(each) for each in (*records.results, *records.retries, *letters)]
    return all(len(value) <= MAX_VALUE_BYTES // 2 for value in values)


@settings(deadline=None, max_examples=6)
@given(askers=st.sampled_from([1, 9, MOST_ANSWERS, MOST_ANSWERS + 1, 20_000]), reply=st.sampled_from([OK, BROKEN]))
def test_all_are_settled_by_records_that_fit(askers: int, reply: Reply) -> None:
    bench = crowd(askers, max_attempts=2)
    bench.run_dry(reply)
    assert all(fits(records) for records in bench.written)
    assert bench.accounted.total() == len(bench.made)
    assert len(bench.scheduler.fold.pending_tombstones) == askers
    assert not bench.scheduler.fold.histories
    if reply is BROKEN:
        named = [each.upload_id for records in bench.written for result in records.results for each in result.answers]
        assert len(named) == len(set(named)) == askers
        assert all(len(result.answers) <= MOST_ANSWERS for records in bench.written for result in records.results)


def test_only_the_first_part_of_a_failure_has_the_calls() -> None:
    bench = crowd(2 * MOST_ANSWERS + 1, max_attempts=1)
    results = bench.call(BROKEN).results
    assert [len(each.answers) for each in results] == [MOST_ANSWERS, MOST_ANSWERS, 1]
    assert [sum(paid.calls for paid in each.calls) for each in results] == [1, 0, 0]
    assert all(decode(LookupResult, encode(each)) == each for each in results)


def test_a_dead_letter_says_how_many_waited() -> None:
    letter = crowd(3_000, max_attempts=1).call(BROKEN).dead_letter
    assert letter is not None
    assert letter.requests_total == 3_000
    assert 0 < len(letter.requests) < 3_000
    assert len(encode(letter)) <= MAX_VALUE_BYTES // 2
    assert decode(DeadLetter, encode(letter)) == letter


def test_data_names_first_who_would_not_take_it_by_its_time() -> None:
    bench = Bench()
    for number in range(MOST_ANSWERS):
        bench.want(request(1, f"u{number}"))
    # Nobody may ask for an answer from the future, but a clock may be that wrong.
    strange = request(1, "strange").model_copy(update={"accept_since": NOW + timedelta(hours=23, minutes=30)})
    bench.want(strange)
    (result,) = bench.call(OK).results
    assert strange.upload_id in {each.upload_id for each in result.answers}
    assert len(result.answers) == MOST_ANSWERS
    assert not list(bench.scheduler.fold.queue.lanes)


def test_the_answer_to_a_question_from_a_wrong_clock_is_not_too_new_for_its_readers() -> None:
    bench = Bench()
    bench.want(request(1, wanted_at=NOW + timedelta(hours=23, minutes=59)))
    (result,) = bench.call(OK).results
    assert decode(LookupResult, encode(result), timestamp_ms=bench.now_ms) == result
    assert result.looked_up_at <= NOW + timedelta(hours=23)
    assert not list(bench.scheduler.fold.queue.lanes)


def test_hundreds_who_pay_for_one_phones_attempts_are_accounted_for_on_the_way() -> None:
    bench = Bench(max_attempts=10_000)
    payers = 3 * MOST_PAYERS
    for number in range(payers):
        bench.open(f"u{number}", max_calls=1)
        bench.want(request(1, f"u{number}"))
    for _ in range(payers):
        records = bench.call(BROKEN)
        assert fits(records)
        assert all(len(retry.calls) <= MOST_PAYERS for retry in records.retries)
        assert all(decode(LookupRetry, encode(retry)) == retry for retry in records.retries)
        bench.wait(120)
    assert bench.scheduler.next_call(bench.now) is None
    while bench.refuse():
        continue
    assert not list(bench.scheduler.fold.queue.lanes)
    assert bench.accounted == {f"u{number}": 1 for number in range(payers)}


@pytest.mark.parametrize("askers", [500, 2_000])
def test_memory_grows_with_the_askers_and_no_faster(askers: int) -> None:
    gc.collect()
    tracemalloc.start()
    bench = crowd(askers, max_attempts=1)
    records = bench.call(BROKEN)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert records.result is not None
    assert peak < 8_000 * askers
    assert bench.scheduler.fold.queue.entry(phone(1)) is None


def test_a_letter_is_made_shorter_until_its_last_error_is_left() -> None:
    bench = crowd(3, max_attempts=2)
    bench.call(BROKEN)
    bench.wait(60)
    letter = bench.call(BROKEN).dead_letter
    told = []
    while letter is not None:
        told.append((len(letter.requests), letter.requests_total, [each.at for each in letter.errors]))
        letter = shorter(letter)
    both, last = [NOW, bench.now], [bench.now]
    assert told == [(3, 3, both), (1, 3, both), (0, 3, both), (0, 3, last)]


def test_a_result_is_written_in_two_with_each_answer_and_each_call_once() -> None:
    (result,) = crowd(5, max_attempts=1).call(BROKEN).results
    first, second = shorter_results(result)
    assert (*first.answers, *second.answers) == result.answers
    assert [len(each.answers) for each in (first, second)] == [2, 3]
    assert (first.calls, second.calls) == (result.calls, ())
    assert result.calls
    assert shorter_results(first.model_copy(update={"answers": first.answers[:1]})) == ()

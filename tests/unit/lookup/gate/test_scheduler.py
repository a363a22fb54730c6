"""What the gate does with replies: answers, retries, dead letters, pauses, and an account of every call."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import topics
from schemas.lookups import PhoneData
from schemas.upload_events import CancelUpload, PauseUpload, ResumeUpload
from services.lookup.gate.call_outcome import CallOutcome
from services.lookup.gate.lanes import EntryState
from services.lookup.gate.scheduler import REFUSED_AT_ONCE, Call, CallScheduler
from services.lookup.providers.protocol import Found, NotValid, Reply, Wait
from tests.unit.lookup.gate.bench import BROKEN, OK, REFUSED, Bench
from tests.unit.lookup.gate.requests import NOW, id_of, name_of, phone, request


def test_an_answer_names_and_settles_all_who_wait() -> None:
    bench = Bench()
    bench.want(request(1, "u1"), request(1, "u2", round_=1))
    result = bench.call(OK).result
    assert result is not None
    assert [(name_of(each.upload_id), each.round) for each in result.answers] == [("u1", 0), ("u2", 1)]
    assert [(name_of(each.upload_id), each.calls) for each in result.calls] == [("u1", 1)]
    assert (result.outcome, result.attempts, result.looked_up_at) == ("ok", 1, NOW)
    assert set(bench.scheduler.fold.pending_tombstones) == {request(1, "u1").key, request(1, "u2", round_=1).key}
    assert bench.scheduler.next_call(bench.now) is None


def test_a_result_holds_what_the_provider_said() -> None:
    bench = Bench()
    bench.want(request(1))
    data = PhoneData(line_type="mobile", carrier="of 0100", reachable="yes")
    result = bench.call(Found(data)).result
    assert result is not None
    assert result.data == data


def test_who_asks_while_the_call_is_made_is_answered_by_it() -> None:
    bench = Bench()
    bench.want(request(1, "u1"))
    call = bench.begin()
    later = request(1, "u2", wanted_at=NOW + timedelta(seconds=9), max_age=timedelta(0))
    bench.want(later)
    result = bench.end(call, OK).result
    assert result is not None
    assert [name_of(each.upload_id) for each in result.answers] == ["u1", "u2"]
    assert result.looked_up_at == later.wanted_at
    assert bench.scheduler.next_call(bench.now) is None


def test_who_asks_anew_while_the_result_is_written_gets_a_call_of_its_own() -> None:
    bench = Bench()
    bench.want(request(1, "u1"))
    records = bench.scheduler.replied(bench.begin(), OK, bench.now, may_fail=True)
    bench.want(
        request(1, "fresh enough"),
        request(1, "anew", wanted_at=NOW + timedelta(seconds=1), max_age=timedelta(0)),
    )
    bench.acknowledge(records)
    call = bench.begin()
    assert [name_of(ask.upload_id) for ask in call.entry.asks] == ["anew"]


def test_not_valid_is_a_result_like_any_other() -> None:
    bench = Bench()
    bench.want(request(1))
    result = bench.call(NotValid()).result
    assert result is not None
    assert (result.outcome, result.data, result.error) == ("not_valid", None, None)


def test_a_failure_is_tried_again_ever_later_then_given_up_with_its_history() -> None:
    bench = Bench()
    bench.want(request(1, "u1"), request(1, "u2"))
    delays = []
    for attempt in range(1, 6):
        (retry,) = bench.call(BROKEN).retries
        assert retry.attempts == attempt
        delays.append((retry.retry_at - bench.now).total_seconds())
        assert bench.scheduler.next_call(bench.now) is None
        bench.wait(delays[-1])
    assert delays == [0.5, 1, 2, 4, 8]
    records = bench.call(BROKEN)
    letter, result = records.dead_letter, records.result
    assert letter is not None
    assert result is not None
    assert (letter.attempts, len(letter.errors), letter.original_offset) == (6, 6, 0)
    assert [name_of(each.upload_id) for each in letter.requests] == ["u1", "u2"]
    assert (result.outcome, result.attempts, result.key) == ("failed", 6, f"{phone(1)}|failed")
    assert result.error is not None
    assert result.error.code == "http_500"
    assert records.forget_retry
    assert bench.accounted.total() == 6


def test_the_provider_can_ask_for_more_patience() -> None:
    bench = Bench()
    bench.want(request(1))
    (retry,) = bench.call(Wait("throttled", "429", throttled=True, retry_after_seconds=90)).retries
    assert retry.retry_at == NOW + timedelta(seconds=90)


def test_a_later_round_begins_anew_after_giving_up() -> None:
    bench = Bench(max_attempts=1)
    bench.want(request(1, "u1"))
    bench.call(BROKEN)
    bench.want(request(1, "u1", round_=1))
    result = bench.call(OK).result
    assert result is not None
    assert (result.attempts, result.answers[0].round) == (1, 1)


def test_a_refused_account_stops_everything_and_burns_no_row() -> None:
    bench = Bench()
    bench.want(*(request(number) for number in range(10)))
    (retry,) = bench.call(REFUSED).retries
    assert retry.attempts == 0
    assert not bench.scheduler.health.may_call(bench.now, bench.scheduler.fold.queue)
    for _ in range(5):
        assert bench.scheduler.next_call(bench.now + timedelta(seconds=59)) is None
        bench.wait(60)
        bench.call(REFUSED)
        assert bench.scheduler.next_call(bench.now) is None, "one probe a minute"
    bench.wait(60)
    bench.call(OK)
    assert bench.scheduler.health.may_call(bench.now, bench.scheduler.fold.queue)
    bench.run_dry()
    assert bench.accounted.total() == len(bench.made)
    assert all(records.dead_letter is None for records in bench.written)


def test_a_phone_alone_that_is_refused_does_not_stop_the_others_for_ever() -> None:
    bench = Bench(max_attempts=2)
    bench.want(*(request(number) for number in range(3)))
    bench.call(REFUSED)
    bench.wait(60)
    assert bench.call(OK).phone != phone(0)  # another phone is tried first
    bench.call(OK)
    bench.wait(60)
    bench.call(REFUSED)
    assert bench.scheduler.health.state == "up"
    bench.wait(60)
    assert bench.call(REFUSED).dead_letter is not None


def test_a_provider_that_is_down_is_probed_and_the_attempts_do_not_count() -> None:
    bench = Bench()
    bench.want(*(request(number) for number in range(30)))
    for _ in range(20):
        bench.call(BROKEN)
    assert bench.scheduler.next_call(bench.now) is None
    assert {bench.scheduler.fold.histories.of(phone(number)).attempts for number in range(20)} == {0}
    assert len(bench.written[-1].retries) == 20, "the next gate must know that they do not count"
    bench.wait(60)
    bench.call(BROKEN)
    assert bench.scheduler.next_call(bench.now) is None
    bench.wait(60)
    bench.call(OK)
    bench.run_dry()
    assert all(records.dead_letter is None for records in bench.written)
    assert bench.accounted.total() == len(bench.made)


def test_a_few_bad_phones_are_not_a_provider_that_is_down() -> None:
    bench = Bench(max_attempts=30)
    bench.want(*(request(number) for number in range(4)))
    for _ in range(25):
        bench.call(BROKEN)
        bench.wait(60)
    assert bench.scheduler.health.state == "up"


def test_a_paused_gate_makes_no_call() -> None:
    bench = Bench()
    bench.want(request(1))
    call = bench.begin()
    bench.scheduler.fold.paused = True
    assert not bench.scheduler.still_wanted(call)
    bench.scheduler.withdrawn(call)
    assert bench.scheduler.next_call(bench.now) is None
    bench.scheduler.fold.paused = False
    assert bench.begin().phone == phone(1)


def test_a_pause_withdraws_a_call_that_waits_at_the_socket_unless_others_await_it() -> None:
    bench = Bench()
    bench.want(request(1, "u1"), request(2, "u1"), request(2, "u2"))
    alone, shared = bench.begin(), bench.begin()
    if alone.phone != phone(1):
        alone, shared = shared, alone
    bench.event(PauseUpload(upload_id=id_of("u1"), at=NOW))
    assert not bench.scheduler.still_wanted(alone)
    assert bench.scheduler.still_wanted(shared)


def test_a_cancel_in_the_middle_of_a_call_keeps_what_was_paid() -> None:
    bench = Bench()
    bench.want(request(1, "u1"))
    call = bench.begin()
    bench.event(CancelUpload(upload_id=id_of("u1"), at=NOW))
    assert not bench.scheduler.still_wanted(call)
    result = bench.end(call, OK).result
    assert result is not None
    assert (result.outcome, result.answers) == ("ok", ())
    assert bench.accounted == {"u1": 1}


def test_a_failure_that_nobody_awaits_any_more_is_only_accounted_for() -> None:
    bench = Bench()
    bench.want(request(1, "u1"))
    bench.call(BROKEN)
    bench.wait(60)
    call = bench.begin()
    bench.event(CancelUpload(upload_id=id_of("u1"), at=NOW))
    records = bench.end(call, BROKEN)
    assert records.result is not None
    assert (records.result.outcome, records.result.answers) == ("failed", ())
    assert (records.dead_letter, records.forget_retry) == (None, True)
    assert bench.accounted == {"u1": 2}
    assert bench.scheduler.next_orphan(bench.now) is None


def test_calls_for_a_phone_in_backoff_are_accounted_for_when_its_upload_is_cancelled() -> None:
    bench = Bench()
    bench.want(request(1, "u1"))
    bench.call(BROKEN)
    bench.event(CancelUpload(upload_id=id_of("u1"), at=NOW))
    records = bench.scheduler.next_orphan(bench.now)
    assert records is not None
    bench.written.append(records)
    assert bench.accounted == {"u1": 1}
    assert records.forget_retry
    assert bench.scheduler.next_orphan(bench.now) is None


def test_without_the_lease_only_what_is_no_failure_is_written() -> None:
    bench = Bench(max_attempts=1)
    bench.want(request(1), request(2))
    first, second = bench.begin(), bench.begin()
    assert bench.end(first, BROKEN, may_fail=False) == CallOutcome(phone(1))
    assert bench.end(second, OK, may_fail=False).result is not None
    assert bench.scheduler.fold.queue.has_callable


def test_a_call_that_never_reached_the_socket_is_not_paid() -> None:
    bench = Bench(max_attempts=1)
    bench.want(request(1))
    call = bench.scheduler.next_call(bench.now)
    assert call is not None
    records = bench.scheduler.replied(call, Wait("no_connection", "refused"), bench.now, may_fail=True)
    assert records.result is not None
    assert records.result.calls == ()


def test_a_cap_on_calls_is_kept_exactly_retries_and_calls_in_progress_included() -> None:
    bench = Bench()
    bench.open("u1", max_calls=3)
    bench.want(*(request(number, "u1") for number in range(3)))
    bench.call(BROKEN)
    begun = [bench.begin(), bench.begin()]
    bench.wait(60)
    assert bench.scheduler.next_call(bench.now) is None, "the phone that failed has no third call to spend"
    (refused,) = bench.refuse()
    assert refused.result is not None
    assert refused.result.error is not None
    assert (refused.phone, refused.result.error.code, refused.forget_retry) == (phone(0), "max_calls", True)
    for call in begun:
        bench.end(call, OK)
    assert bench.refuse() == []
    assert bench.accounted == {"u1": 3}
    assert list(bench.scheduler.fold.queue.lanes) == []


def test_a_call_that_was_not_made_is_not_spent() -> None:
    bench = Bench()
    bench.open("u1", max_calls=1)
    bench.want(request(1, "u1"), request(2, "u1"))
    call = bench.begin()
    assert bench.scheduler.next_call(bench.now) is None
    bench.scheduler.withdrawn(call)
    assert bench.refuse() == []
    assert bench.call(OK).result is not None
    assert bench.scheduler.next_call(bench.now) is None
    assert [each.phone for each in bench.refuse()] == [phone(2)]


def test_a_spent_cap_does_not_keep_others_from_a_shared_phone() -> None:
    bench = Bench()
    bench.open("u1", max_calls=0)
    bench.want(request(1, "u1"), request(2, "u1"), request(1, "u2"))
    call = bench.begin()
    assert (call.phone, name_of(call.payer)) == (phone(1), "u2")
    bench.scheduler.withdrawn(call)
    assert sorted(each.phone for each in bench.refuse()) == [phone(1), phone(2)]
    assert [name_of(each.upload_id) for records in bench.written for each in records.results[0].answers] == ["u1"] * 2
    call = bench.begin()
    assert (call.phone, name_of(call.payer)) == (phone(1), "u2")


@settings(deadline=None, max_examples=20)
@given(phones=st.integers(1, 400), cap=st.integers(0, 5), others=st.integers(1, 5))
def test_a_cap_that_leaves_out_many_phones_is_work_in_small_steps(phones: int, cap: int, others: int) -> None:
    bench = Bench()
    bench.open("u1", max_calls=cap)
    bench.want(*(request(number, "u1") for number in range(phones)))
    bench.want(*(request(5_000 + number, "u2", owner="owner-2") for number in range(others)))
    made = 0
    while (call := bench.scheduler.next_call(bench.now)) is not None:
        call.written = True
        bench.end(call, OK)
        made += 1
        # Another owner's phones have their turns whether anything was refused yet or not.
    assert made == min(phones, cap) + others
    refused = 0
    while step := bench.refuse():
        assert len(step) <= REFUSED_AT_ONCE
        refused += len(step)
    assert refused == max(0, phones - cap)
    assert list(bench.scheduler.fold.queue.lanes) == []


def test_a_failure_says_of_what_kind_it_was_and_when() -> None:
    bench = Bench()
    bench.want(request(1), request(2))
    (wait,) = bench.call(BROKEN).retries[0].errors
    assert (wait.error_class, wait.code, wait.detail, wait.at) == ("wait", "http_500", "status 500", NOW)
    bench.wait(0.4)
    (account,) = bench.call(REFUSED).retries[0].errors
    assert (account.error_class, account.code, account.detail) == ("account", "http_401", "status 401")
    assert account.at == bench.now


def test_an_upload_is_over_after_the_days_that_the_gate_was_told_and_its_count_goes_with_it() -> None:
    bench = Bench()
    bench.scheduler = CallScheduler(
        provider="generic", max_attempts=6, random=lambda: 0.0, clock=bench.scheduler.clock, keep_days=7
    )
    bench.want(request(1), request(2))
    bench.call(OK)
    for days, waits in ((6.9, True), (7.1, False)):
        bench.now = NOW + timedelta(days=days)
        bench.open(f"after {days}")
        list(bench.scheduler.end_uploads(bench.now))
        assert (bench.scheduler.fold.queue.entry(phone(2)) is not None) is waits
        assert (id_of("u1") in bench.scheduler.counters.calls_by_upload) is waits


def test_time_alone_lets_a_call_begin_when_the_first_backoff_or_the_next_probe_is_due() -> None:
    bench = Bench()
    bench.want(request(1), request(2), request(3))
    assert bench.scheduler.next_change_at() is None
    bench.call(BROKEN)
    assert bench.scheduler.next_change_at() == (NOW + timedelta(seconds=0.5)).timestamp()
    bench.wait(0.6)
    bench.call(REFUSED)
    backoff, probe = bench.scheduler.fold.queue.next_due_at(), bench.scheduler.health.probe_at
    assert probe == NOW + timedelta(seconds=60.6)
    assert backoff is not None
    assert bench.scheduler.next_change_at() == min(backoff, probe.timestamp())
    bench.now = probe
    call = bench.begin()
    assert call.probe
    assert bench.scheduler.next_change_at() == bench.scheduler.fold.queue.next_due_at(), "the probe is being made"
    bench.scheduler.withdrawn(call)
    assert bench.begin().probe, "a probe that was not made is made yet"


def test_while_not_up_only_the_probe_goes_on() -> None:
    bench = Bench()
    bench.want(*(request(number) for number in range(4)))
    before, refused = bench.begin(), bench.begin()
    bench.end(refused, REFUSED)
    assert not bench.scheduler.still_wanted(before)
    bench.wait(60)
    probe = bench.begin()
    assert bench.scheduler.still_wanted(probe)


def test_a_probe_is_within_the_cap_of_who_pays_for_it() -> None:
    bench = Bench()
    bench.open("u1", max_calls=1)
    bench.want(request(1, "u1"), request(2, "u1"))
    bench.call(REFUSED)
    bench.wait(60)
    assert bench.scheduler.next_call(bench.now) is None
    bench.want(request(3, "u2"))
    call = bench.begin()
    assert (name_of(call.payer), call.probe) == ("u2", True)


def test_all_uploads_that_are_over_are_ended_at_once() -> None:
    bench = Bench()
    bench.want(request(1, "u1"), request(2, "u2"), request(3, "u3"))
    bench.wait(31 * 86_400)
    bench.open("newer")
    list(bench.scheduler.end_uploads(bench.now))
    assert list(bench.scheduler.fold.queue.lanes) == []
    assert set(bench.scheduler.fold.pending_tombstones) == {request(number, f"u{number}").key for number in (1, 2, 3)}


def test_it_is_the_phone_that_was_refused_of_which_a_refusal_is_remembered() -> None:
    bench = Bench()
    bench.want(request(1), request(2))
    bench.call(REFUSED)
    assert list(bench.scheduler.health.failed_phones) == [phone(1)]


def test_a_paused_gate_refuses_nobody() -> None:
    bench = Bench()
    bench.open("u1", max_calls=0)
    bench.want(request(1))
    assert bench.scheduler.next_call(bench.now) is None
    bench.scheduler.fold.paused = True
    assert bench.refuse() == []
    bench.scheduler.fold.paused = False
    (refused,) = bench.refuse()
    assert refused.result is not None
    error = refused.result.error
    assert error is not None
    assert (error.error_class, error.code, error.at) == ("wait", "max_calls", NOW)
    assert "0 calls" in error.detail


def test_who_is_refused_a_phone_that_failed_leaves_its_attempts_and_its_costs_to_those_who_wait_on() -> None:
    bench = Bench(max_attempts=2)
    bench.open("u1", max_calls=1)
    bench.want(request(1, "u1"))
    bench.call(BROKEN)
    bench.want(request(1, "u2", owner="owner-2"), request(2, "u1"))
    bench.wait(60)
    bench.event(PauseUpload(upload_id=id_of("u2"), at=NOW))
    assert bench.scheduler.next_call(bench.now) is None
    refused = {each.phone: each for each in bench.refuse()}
    assert not refused[phone(1)].forget_retry
    assert [name_of(each.upload_id) for each in refused[phone(1)].results[0].answers] == ["u1"]
    assert refused[phone(1)].results[0].calls == ()
    assert bench.scheduler.fold.histories.of(phone(1)).attempts == 1
    bench.event(ResumeUpload(upload_id=id_of("u2"), at=NOW))
    letter = bench.call(BROKEN).dead_letter
    assert letter is not None
    assert [each.code for each in letter.errors] == ["http_500", "http_500"]
    assert bench.accounted == {"u1": 1, "u2": 1}


def test_a_failed_call_that_was_never_written_for_a_phone_nobody_awaits_leaves_nothing() -> None:
    bench = Bench()
    bench.want(request(1, "u1"))
    call = bench.scheduler.next_call(bench.now)
    assert call is not None
    bench.event(CancelUpload(upload_id=id_of("u1"), at=NOW))
    assert bench.end(call, Wait("no_connection", "refused")) == CallOutcome(phone(1))
    assert bench.scheduler.fold.queue.entry(phone(1)) is None
    assert bench.scheduler.fold.queue.total(EntryState.CALLED) == 0
    bench.want(request(1, "u2"))
    assert bench.begin().phone == phone(1)


def test_a_phone_that_was_forgotten_in_its_backoff_loses_its_retry_and_no_more() -> None:
    bench = Bench()
    bench.want(request(1))
    bench.call(BROKEN)
    bench.wait(1)
    bench.record(topics.LOOKUP_RESULTS, phone(1), None)
    assert bench.scheduler.next_orphan(bench.now) == CallOutcome(phone(1), forget_retry=True)
    assert bench.scheduler.next_orphan(bench.now) is None


def test_calls_that_a_result_has_accounted_for_are_not_accounted_for_again_by_the_next_gate() -> None:
    """The gate before wrote the result and stopped ahead of the retry's tombstone."""
    first, second = Bench(), Bench()
    first.want(request(1))
    (retry,) = first.call(BROKEN).retries
    first.wait(60)
    second.now = first.now
    (result,) = first.call(OK).results
    second.record(topics.LOOKUP_RETRIES, phone(1), retry)
    second.record(topics.LOOKUP_RESULTS, result.key, result)
    second.scheduler.take_over()
    assert second.scheduler.next_orphan(second.now) == CallOutcome(phone(1), forget_retry=True)
    assert second.scheduler.next_orphan(second.now) is None


def test_a_dead_letter_tells_the_request_as_it_stood_on_the_topic() -> None:
    bench = Bench(max_attempts=1)
    first = request(7, "u1", priority=2, round_=3, wanted_at=NOW - timedelta(hours=1))
    bench.want(request(6), first)
    bench.call(OK)
    bench.wait(9)
    letter = bench.call(BROKEN).dead_letter
    assert letter is not None
    assert letter.requests == (first,)
    assert (letter.phone, letter.requests_total, letter.given_up_at) == (phone(7), 1, bench.now)
    assert (letter.original_topic, letter.original_partition, letter.original_offset) == ("lookup-requests", 0, 1)
    assert bench.scheduler.counters.dead_letters == 1


replies = st.sampled_from([OK, NotValid(), BROKEN, BROKEN, REFUSED])
moves = st.lists(
    st.tuples(
        st.sampled_from(["want", "call", "begin", "end", "cancel", "wait"]),
        st.integers(0, 5),
        st.sampled_from(["u1", "u2", "u3"]),
        replies,
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=200)
@given(moves=moves)
def test_every_call_is_accounted_for_and_every_request_is_settled(
    moves: list[tuple[str, int, str, Reply]],
) -> None:
    bench = Bench(max_attempts=3)
    open_calls: list[Call] = []
    clock: datetime = bench.now
    for move, number, upload_id, reply in moves:
        if move == "want":
            bench.want(request(number, upload_id))
        elif move == "cancel":
            bench.event(CancelUpload(upload_id=id_of(upload_id), at=bench.now))
        elif move == "wait":
            bench.wait(20 * number)
        elif move == "end" and open_calls:
            bench.end(open_calls.pop(number % len(open_calls)), reply)
        elif (call := bench.scheduler.next_call(bench.now)) is not None:
            call.written = True
            bench.made.append(call.phone)
            assert call.phone not in {each.phone for each in open_calls}, "one call per phone at a time"
            if move == "begin":
                open_calls.append(call)
            else:
                bench.end(call, reply)
    for call in open_calls:
        bench.end(call, OK)
    bench.run_dry()
    while (records := bench.scheduler.next_orphan(bench.now)) is not None:
        bench.written.append(records)
    assert bench.now >= clock
    assert bench.accounted.total() == len(bench.made)
    assert list(bench.scheduler.fold.queue.lanes) == []
    assert not bench.scheduler.fold.histories


@pytest.mark.parametrize("reply", [OK, BROKEN])
def test_a_second_gate_that_folds_the_same_log_goes_on_where_the_first_stopped(reply: Reply) -> None:
    first, second = Bench(), Bench()
    for bench in (first, second):
        bench.want(request(1, "u1"), request(2, "u2"))
    records = first.call(reply)
    for retry in records.retries:
        second.record(topics.LOOKUP_RETRIES, retry.phone, retry)
    for result in records.results:
        second.record(topics.LOOKUP_RESULTS, result.key, result)
    second.scheduler.fold.take_over()
    assert second.begin().phone == phone(2)
    assert set(second.scheduler.fold.pending_tombstones) == set(first.scheduler.fold.pending_tombstones)
    assert second.scheduler.fold.histories == first.scheduler.fold.histories

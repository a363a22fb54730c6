"""What the gate tells of itself explains every lane: where it stands, what share it gets, why it waits."""

import json
import sys
from collections.abc import Callable
from datetime import timedelta

import pytest

from schemas import topics
from schemas.codec import MAX_VALUE_BYTES, decode, encode
from schemas.lookups import LookupStatus, PaidCalls, PhoneData
from schemas.phones import mask
from schemas.upload_events import PauseUpload
from services.lookup.gate import status as gate_status
from services.lookup.gate.limiter import Limiter
from services.lookup.gate.log_record import LogRecord
from services.lookup.gate.status import MOST_HELD, MOST_LANES, compose_status, shorter_status
from services.lookup.providers.protocol import AccountProblem, Found, Wait
from tests.unit.lookup.gate.bench import OK, Bench
from tests.unit.lookup.gate.requests import NOW, id_of, name_of, phone, request

SECOND = 1_000_000_000


def status(bench: Bench, limiter: Limiter | None = None, *, now_ns: int = 0) -> LookupStatus:
    return compose_status(
        bench.scheduler,
        limiter or Limiter(rate=10, window_ns=SECOND),
        instance="1",
        now=bench.now,
        now_ns=now_ns,
        error=None,
    )


def test_lanes_stand_in_the_order_of_their_turns_with_their_shares() -> None:
    bench = Bench()
    bench.want(*(request(number, "u1") for number in range(5)))
    bench.want(*(request(number, "u2", owner="owner-2") for number in range(10, 12)))
    bench.call(Found(PhoneData()))
    told = status(bench)
    assert [(name_of(lane.upload_id), lane.position, lane.pending, lane.share) for lane in told.lanes] == [
        ("u2", 1, 2, 0.5),
        ("u1", 2, 4, 0.5),
    ]
    assert (told.pending, told.in_flight, told.in_backoff) == (6, 0, 0)
    assert {name_of(lane.upload_id): lane.calls for lane in told.lanes} == {"u1": 1, "u2": 0}
    assert {lane.why for lane in told.lanes} == {"waiting_turn"}
    assert told.oldest_wanted_at == NOW
    assert told.folded_offset == 7


def test_the_next_calls_are_told_without_the_phone() -> None:
    bench = Bench()
    bench.want(request(1, "u1"), request(2, "u2", owner="owner-2"), request(1, "u2", owner="owner-2"))
    told = status(bench)
    assert {each.phone_masked for each in told.next} == {mask(phone(1)), mask(phone(2))}
    assert len(told.next) == 2
    assert phone(1) not in told.model_dump_json()


def test_a_paused_lane_stands_behind_and_says_so() -> None:
    bench = Bench()
    bench.want(request(1, "u1"), request(2, "u2"))
    bench.event(PauseUpload(upload_id=id_of("u1"), at=NOW))
    told = status(bench)
    assert [(name_of(lane.upload_id), lane.why, lane.share) for lane in told.lanes] == [
        ("u2", "waiting_turn", 1.0),
        ("u1", "paused", 0.0),
    ]


def test_a_lane_whose_phones_all_failed_waits_for_their_backoff() -> None:
    bench = Bench()
    bench.want(request(1, "u1"))
    bench.call(Wait("http_500", "status 500"))
    told = status(bench)
    assert [(lane.why, lane.pending, lane.in_backoff, lane.retries) for lane in told.lanes] == [("backoff", 1, 1, 1)]
    assert [lane.backoff_until for lane in told.lanes] == [NOW + timedelta(seconds=0.5)]
    assert told.retries == 1


def test_an_account_problem_is_the_reason_of_all() -> None:
    bench = Bench()
    bench.want(request(1, "u1"), request(2, "u2"))
    bench.call(AccountProblem("http_401", "the provider refused our account with status 401"))
    told = status(bench)
    assert told.state == "account_problem"
    assert told.until == NOW + timedelta(seconds=60)
    assert told.error == "the provider refused our account with status 401"
    assert told.next == ()
    assert {lane.why for lane in told.lanes} == {"account_problem"}


def test_a_narrowed_pace_is_told_with_its_end() -> None:
    bench = Bench()
    bench.want(request(1, "u1"))
    limiter = Limiter(rate=10, window_ns=SECOND)
    limiter.throttled(0, closed_for_ns=3 * SECOND)
    told = status(bench, limiter, now_ns=SECOND)
    assert told.state == "throttled"
    assert told.until == NOW + timedelta(seconds=2)
    assert told.pace_per_second < 10 / 1.007
    assert {lane.why for lane in told.lanes} == {"provider_throttled"}


def test_a_paused_gate_says_so_for_every_lane() -> None:
    bench = Bench()
    bench.want(request(1, "u1"))
    bench.scheduler.fold.paused = True
    told = status(bench)
    assert (told.state, [lane.why for lane in told.lanes]) == ("paused", ["paused"])


def test_a_new_gate_counts_on_from_what_the_one_before_it_said_last() -> None:
    first, second = Bench(), Bench()
    for bench in (first, second):
        bench.want(request(1, "u1"), request(2, "u1"))
    first.call(Wait("http_500", "status 500"))
    said = status(first)
    assert (said.retries, said.lanes[0].calls) == (1, 1)
    second.record(topics.LOOKUP_STATUS, "0", said)
    second.scheduler.take_over()
    second.call(Wait("http_500", "status 500"))
    told = status(second)
    assert (told.retries, told.lanes[0].calls, told.lanes[0].retries) == (2, 2, 2)
    second.scheduler.take_over()
    assert status(second).retries == 2, "what it counted itself since is not forgotten"


def test_the_figures_of_the_limit_and_of_what_was_used() -> None:
    bench = Bench(max_attempts=1)
    bench.want(*(request(number, "u1") for number in range(4)))
    bench.call(Wait("http_500", "status 500"))
    bench.begin()
    limiter = Limiter(rate=10, window_ns=2 * SECOND)
    for at in (0, 30 * SECOND, 60 * SECOND, 61 * SECOND):
        limiter.written(limiter.take(at), at)
    told = status(bench, limiter, now_ns=61 * SECOND)
    assert (told.instance, told.at, told.state, told.until) == ("1", NOW, "running", None)
    assert (told.limit_calls, told.limit_window_seconds) == (10, 2.0)
    assert told.pace_per_second == limiter.calls_per_second
    assert (told.used_last_window, told.calls_last_minute) == (2, 3)
    assert (told.pending, told.in_flight, told.in_backoff, told.dead_letters) == (2, 1, 0, 1)
    assert [(lane.owner, lane.pending, lane.in_flight, lane.in_backoff) for lane in told.lanes] == [
        ("owner-1", 2, 1, 0)
    ]
    assert told.error is None


def test_what_the_gate_itself_complains_of_goes_before_what_the_provider_says() -> None:
    bench = Bench()
    bench.want(request(1, "u1"))
    bench.call(AccountProblem("http_401", "status 401"))
    limiter = Limiter(rate=10, window_ns=SECOND)
    told = compose_status(bench.scheduler, limiter, instance="1", now=bench.now, now_ns=0, error="Kafka " + "x" * 5_000)
    assert told.error is not None
    assert told.error.startswith("Kafka x")
    assert len(told.error) == 1_000


def test_a_lane_waits_for_the_last_of_its_backoffs_only_when_all_its_phones_do() -> None:
    bench = Bench()
    bench.want(request(1, "u1"), request(2, "u1"))
    bench.call(Wait("http_500", "status 500"))
    (lane,) = status(bench).lanes
    assert (lane.why, lane.pending, lane.in_backoff) == ("waiting_turn", 2, 1)
    assert lane.backoff_until == NOW + timedelta(seconds=0.5)
    bench.begin()
    (lane,) = status(bench).lanes
    assert (lane.why, lane.pending, lane.in_flight) == ("waiting_turn", 1, 1)


def test_a_shared_phone_is_told_once_among_the_next_calls_and_ten_are_enough() -> None:
    bench = Bench()
    bench.want(*(request(number, "u1") for number in range(8)))
    bench.want(*(request(number, "u2", owner="owner-2") for number in range(8)))
    assert sorted(each.phone_masked for each in status(bench).next) == sorted(mask(phone(each)) for each in range(8))
    bench.want(*(request(number, "u1") for number in range(20, 40)))
    told = status(bench).next
    assert len(told) == 10
    assert [name_of(each.upload_id) for each in told[:4]] == ["u1", "u2", "u1", "u2"]


def test_a_first_gate_begins_at_nothing() -> None:
    bench = Bench()
    bench.scheduler.take_over()
    assert status(bench).retries == 0


LONGEST_OWNER = "\x01" * 200


@pytest.mark.hostile
@pytest.mark.parametrize(("uploads", "owner"), [(12_000, "o"), (1_500, LONGEST_OWNER), (900, "o")])
def test_the_status_fits_a_record_whatever_waits_and_says_what_it_leaves_out(uploads: int, owner: str) -> None:
    bench = Bench()
    for number in range(uploads):
        bench.want(request(number % 9_000, f"u{number}", owner=owner))
    told = status(bench)
    assert len(encode(told)) <= MAX_VALUE_BYTES
    assert decode(LookupStatus, encode(told), timestamp_ms=bench.now_ms) == told
    assert told.lanes_total == uploads
    assert len(told.lanes) <= MOST_LANES
    assert told.held_complete == (uploads <= MOST_HELD)
    assert set(told.held) <= bench.opened
    assert len(set(told.held)) == min(uploads, MOST_HELD)
    assert [lane.position for lane in told.lanes] == list(range(1, len(told.lanes) + 1))


def test_the_work_of_a_status_grows_with_the_lanes_and_no_faster() -> None:
    """The shares of 1,000 lanes among 10,000 of one owner, each a sum over all of them, took 0.76 s (measured)."""
    costs = []
    for uploads in (500, 4_000):
        bench = Bench()
        for number in range(uploads):
            bench.want(request(number, f"u{number}"))
        # Mypy cannot infer a lambda with a default.
        costs.append(lines_run(lambda bench=bench: status(bench)))  # type: ignore[misc]
    assert costs[1] <= 12 * costs[0]


def lines_run(work: Callable[[], object]) -> int:
    count = 0

    def trace(_frame: object, event: str, _argument: object) -> object:
        nonlocal count
        count += event == "line"
        return trace

    sys.settrace(trace)  # type: ignore[arg-type]  # the stub wants one exact protocol
    try:
        work()
    finally:
        sys.settrace(None)
    return count


@pytest.mark.parametrize("uploads", [3, pytest.param(1_500, marks=pytest.mark.hostile)])
def test_a_cap_survives_a_takeover_however_many_uploads_wait(uploads: int) -> None:
    first, second = Bench(), Bench()
    for bench in (first, second):
        for number in range(uploads):
            bench.open(f"u{number}", max_calls=2)
            bench.want(*(request(3 * number + each, f"u{number}") for each in range(3)))
    for _ in range(uploads * 2):
        first.call(OK)
    assert first.scheduler.next_call(first.now) is None
    told = status(first)
    assert told.capped_complete
    assert {each.calls for each in told.capped} == {2}
    second.record(topics.LOOKUP_STATUS, "0", told)
    second.scheduler.take_over()
    assert second.scheduler.next_call(second.now) is None


def test_an_upload_that_holds_nothing_at_the_takeover_keeps_what_it_has_paid() -> None:
    """Its rows come in windows: between two of them it has no lane."""
    first, second = Bench(), Bench()
    for bench in (first, second):
        bench.open("u1", max_calls=1)
    first.want(request(1, "u1"))
    first.call(OK)
    told = status(first)
    assert told.lanes == ()
    second.record(topics.LOOKUP_STATUS, "0", told)
    second.scheduler.take_over()
    second.want(request(2, "u1"))
    assert second.scheduler.next_call(second.now) is None
    assert [each.phone for each in second.refuse()] == [phone(2)]


def test_a_cap_that_the_status_had_no_room_for_counts_as_spent() -> None:
    bench = Bench()
    bench.open("told", max_calls=5)
    bench.open("untold", max_calls=5)
    said = status(bench).model_copy(
        update={"capped": (PaidCalls(upload_id=id_of("told"), calls=2),), "capped_complete": False}
    )
    bench.record(topics.LOOKUP_STATUS, "0", said)
    bench.scheduler.take_over()
    bench.open("later", max_calls=5)
    bench.want(request(1, "told"), request(2, "untold"), request(3, "later"), request(4, "no cap"))
    made = []
    while (call := bench.scheduler.next_call(bench.now)) is not None:
        made.append(name_of(call.payer))
    assert sorted(made) == ["later", "no cap", "told"]


@pytest.mark.parametrize(("capped", "is_complete"), [(2, True), (3, True), (4, False)])
def test_a_list_of_caps_is_whole_up_to_its_limit(
    monkeypatch: pytest.MonkeyPatch, *, capped: int, is_complete: bool
) -> None:
    monkeypatch.setattr(gate_status, "MOST_CAPPED", 3)
    bench = Bench()
    for number in range(capped):
        bench.open(f"u{number}", max_calls=9)
        bench.want(request(number, f"u{number}"))
    for _ in range(capped):
        bench.call(OK)
    told = status(bench)
    assert len(told.capped) == min(capped, 3)
    assert told.capped_complete is is_complete


def test_a_status_of_an_older_gate_is_read_as_it_was_meant() -> None:
    bench = Bench()
    bench.open("u1", max_calls=1)
    bench.want(request(1, "u1"))
    old = status(bench).model_dump(mode="json")
    for field in ("lanes_total", "held", "held_complete", "capped", "capped_complete"):
        del old[field]
    bench.apply(LogRecord(topics.LOOKUP_STATUS, "0", json.dumps(old).encode(), 0, bench.now_ms))
    bench.scheduler.take_over()
    read = decode(LookupStatus, bench.scheduler.fold.last_status)
    assert (read.lanes_total, read.held_complete) == (None, False)
    assert bench.scheduler.next_call(bench.now) is not None


def test_a_status_can_be_cut_until_nothing_is_left_in_its_lists() -> None:
    bench = Bench()
    for number in range(20):
        bench.open(f"u{number}", max_calls=9)
        bench.want(request(number, f"u{number}"), request(100 + number, f"u{number}"))
    for _ in range(20):
        bench.call(OK)
    told: LookupStatus | None = status(bench)
    sizes = []
    while told is not None:
        sizes.append(len(encode(told)))
        shorter = shorter_status(told)
        if shorter is not None:
            assert not shorter.held_complete
            assert not shorter.capped_complete
        told = shorter
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 2_000

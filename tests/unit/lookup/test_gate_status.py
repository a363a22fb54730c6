"""What the gate tells of itself explains every lane: where it stands, what share it gets, why it waits."""

from datetime import timedelta

from schemas import topics
from schemas.lookups import LookupStatus, PhoneData
from schemas.phones import mask
from schemas.upload_events import PauseUpload
from services.lookup.gate_status import compose_status
from services.lookup.limiter import Limiter
from services.lookup.providers.protocol import AccountProblem, Found, Wait
from tests.unit.lookup.bench import Bench
from tests.unit.lookup.requests import NOW, id_of, name_of, phone, request

SECOND = 1_000_000_000


def status(bench: Bench, limiter: Limiter | None = None, *, now_ns: int = 0) -> LookupStatus:
    return compose_status(
        bench.core,
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
    bench.core.fold.paused = True
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
    second.core.take_over()
    second.call(Wait("http_500", "status 500"))
    told = status(second)
    assert (told.retries, told.lanes[0].calls, told.lanes[0].retries) == (2, 2, 2)
    second.core.take_over()
    assert status(second).retries == 2, "what it counted itself since is not forgotten"


def test_a_first_gate_begins_at_nothing() -> None:
    bench = Bench()
    bench.core.take_over()
    assert status(bench).retries == 0

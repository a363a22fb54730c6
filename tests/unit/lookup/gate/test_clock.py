"""Backoffs and probes follow a clock that no operator steps; what is written says the time that a wall clock shows."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from schemas import topics
from schemas.codec import encode
from schemas.values import EARLIEST, LATEST
from services.lookup.gate.clock import Clock
from services.lookup.gate.log_record import LogRecord
from services.lookup.gate.scheduler import CallScheduler
from tests.unit.lookup.gate.bench import BROKEN, REFUSED, Bench
from tests.unit.lookup.gate.requests import NOW, phone, request


@dataclass
class Watch:
    """Two clocks that can be set apart."""

    wall_seconds: float = NOW.timestamp()
    steady_seconds: float = 1_000.0

    def clock(self) -> Clock:
        return Clock(wall=lambda: self.wall_seconds, steady=lambda: self.steady_seconds)

    def go_on(self, seconds: float) -> None:
        self.wall_seconds += seconds
        self.steady_seconds += seconds


def stepped(bench: Bench, watch: Watch, seconds: float) -> None:
    watch.wall_seconds += seconds
    bench.now = bench.scheduler.clock.now()


def bench_with(watch: Watch) -> Bench:
    bench = Bench()
    bench.scheduler = CallScheduler(provider="generic", max_attempts=6, random=lambda: 0.0, clock=watch.clock())
    return bench


@pytest.mark.parametrize("step", [-40_000_000, -3600, 3600, 40_000_000])
def test_a_step_of_the_wall_clock_moves_no_backoff(step: float) -> None:
    watch = Watch()
    bench = bench_with(watch)
    bench.want(request(1))
    bench.call(BROKEN)
    stepped(bench, watch, step)
    watch.go_on(0.4)
    assert bench.scheduler.next_call(bench.scheduler.clock.now()) is None
    watch.go_on(0.2)
    assert bench.scheduler.next_call(bench.scheduler.clock.now()) is not None


@pytest.mark.parametrize("step", [-86_400, 86_400])
def test_a_step_of_the_wall_clock_moves_no_probe(step: float) -> None:
    watch = Watch()
    bench = bench_with(watch)
    bench.want(request(1), request(2))
    bench.call(REFUSED)
    stepped(bench, watch, step)
    watch.go_on(59)
    assert bench.scheduler.next_call(bench.scheduler.clock.now()) is None
    watch.go_on(1.5)
    assert bench.scheduler.next_call(bench.scheduler.clock.now()) is not None


def test_what_is_written_after_a_step_is_of_the_time_that_kafka_says_too() -> None:
    watch = Watch()
    bench = bench_with(watch)
    bench.want(request(1))
    call = bench.begin()
    watch.wall_seconds -= 3600
    (retry,) = bench.scheduler.replied(call, BROKEN, bench.scheduler.clock.now(), may_fail=True).retries
    assert retry.errors[-1].at == NOW - timedelta(hours=1)
    assert retry.retry_at == NOW - timedelta(hours=1) + timedelta(seconds=0.5)


def test_a_backoff_of_another_gate_lasts_as_long_on_this_one_whose_wall_clock_was_stepped() -> None:
    other = Bench()
    other.want(request(1))
    (retry,) = other.call(BROKEN).retries
    watch = Watch()
    bench = bench_with(watch)
    watch.wall_seconds -= 7200
    watch.go_on(7200)
    bench.want(request(1))
    bench.apply(LogRecord(topics.LOOKUP_RETRIES, phone(1), encode(retry), 0, bench.now_ms))
    assert bench.scheduler.next_call(bench.scheduler.clock.now()) is None
    watch.go_on(0.6)
    assert bench.scheduler.next_call(bench.scheduler.clock.now()) is not None


@pytest.mark.parametrize("seconds", [-1e18, -1.0, 0.0, 1e10, 1e300, float("inf")])
def test_a_wall_clock_that_is_out_of_its_mind_still_gives_a_time_that_can_be_written(seconds: float) -> None:
    clock = Clock(wall=lambda: seconds, steady=lambda: 5.0)
    assert EARLIEST <= clock.to_wall(clock.now()) <= LATEST


def test_steady_time_begins_with_the_walls() -> None:
    watch = Watch()
    clock = watch.clock()
    assert clock.now() == datetime(2026, 1, 1, tzinfo=UTC)
    assert clock.to_wall(clock.now()) == clock.now()

"""The limit holds whatever is asked of it, and nothing is left unused while somebody asks."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.lookup.gate.limiter import MARGIN_NS, Limiter, Permit, TooEarly

SECOND = 1_000_000_000
MS = 1_000_000

limits = st.tuples(st.integers(1, 12), st.integers(10 * MS, 3 * SECOND))
idle = st.integers(0, 2 * SECOND)
write_delay = st.one_of(st.just(0), st.integers(0, 300 * MS))
steps = st.lists(st.tuples(idle, write_delay, st.sampled_from(["", "throttled", "closed"])), min_size=1, max_size=60)


def most_in_any_window(writes: list[int], window_ns: int) -> int:
    """By brute force: the fullest half-open window that begins with a write."""
    ordered = sorted(writes)
    return max((sum(1 for at in ordered if start <= at < start + window_ns) for start in ordered), default=0)


def take_when_free(limiter: Limiter, now: int) -> tuple[int, Permit]:
    """Waits, on the virtual clock, for as long as the limiter says."""
    free_at = limiter.next_free_at(now)
    assert free_at is not None
    assert free_at >= now
    while (again := limiter.next_free_at(free_at)) is not None and again > free_at:
        free_at = again
    return free_at, limiter.take(free_at)


@given(limit=limits, steps=steps)
def test_no_window_ever_holds_more_writes_than_the_rate(
    limit: tuple[int, int], steps: list[tuple[int, int, str]]
) -> None:
    rate, window_ns = limit
    limiter = Limiter(rate=rate, window_ns=window_ns)
    now, writes = 0, list[int]()
    for pause, delay, event in steps:
        now, permit = take_when_free(limiter, now + pause)
        now += delay  # the process was not scheduled between the permit and the write
        limiter.written(permit, now)
        writes.append(now)
        if event == "throttled":
            limiter.throttled(now)
        elif event == "closed":
            limiter.throttled(now, closed_for_ns=delay)
    assert most_in_any_window(writes, window_ns + MARGIN_NS) <= rate


@given(limit=limits, count=st.integers(1, 80))
def test_writes_are_spread(limit: tuple[int, int], count: int) -> None:
    rate, window_ns = limit
    limiter = Limiter(rate=rate, window_ns=window_ns)
    now, writes = 0, list[int]()
    for _ in range(count):
        now, permit = take_when_free(limiter, now)
        limiter.written(permit, now)
        writes.append(now)
    gaps = [later - earlier for earlier, later in itertools.pairwise(writes)]
    assert all(gap >= window_ns // (2 * rate) for gap in gaps)


@given(limit=limits, rounds=st.integers(1, 20))
def test_a_queue_that_never_runs_dry_uses_every_slot_in_every_window(limit: tuple[int, int], rounds: int) -> None:
    rate, window_ns = limit
    limiter = Limiter(rate=rate, window_ns=window_ns)
    now, last = 0, 0
    for _ in range(rate * rounds):
        now, permit = take_when_free(limiter, now)
        limiter.written(permit, now)
        last = now
    first_round = window_ns  # at most, with its spacing
    assert last <= (rounds - 1) * (window_ns + MARGIN_NS) + first_round


@given(limit=limits, idle_ns=st.integers(0, 10 * SECOND))
def test_after_an_idle_window_a_call_need_not_wait(limit: tuple[int, int], idle_ns: int) -> None:
    rate, window_ns = limit
    limiter = Limiter(rate=rate, window_ns=window_ns)
    now = 0
    for _ in range(2 * rate):
        now, permit = take_when_free(limiter, now)
        limiter.written(permit, now)
    now += window_ns + MARGIN_NS + idle_ns
    assert limiter.next_free_at(now) == now


@given(limit=limits, latencies=st.lists(st.integers(0, 4 * SECOND), min_size=1, max_size=50))
def test_strict_mode_keeps_a_slot_until_a_window_after_the_response(
    limit: tuple[int, int], latencies: list[int]
) -> None:
    rate, window_ns = limit
    limiter = Limiter(rate=rate, window_ns=window_ns, strict=True)
    now, calls = 0, list[tuple[int, int]]()
    open_calls: list[tuple[int, Permit]] = []
    for latency in latencies:
        while (free_at := limiter.next_free_at(now)) is None:
            open_calls.sort(key=lambda each: each[0])
            ends_at, permit = open_calls.pop(0)
            now = max(now, ends_at)
            limiter.finished(permit, now)
        for ends_at, permit in [each for each in open_calls if each[0] <= free_at]:
            limiter.finished(permit, max(now, ends_at))
            open_calls.remove((ends_at, permit))
        now, permit = take_when_free(limiter, max(now, free_at))
        limiter.written(permit, now)
        calls.append((now, now + latency))
        open_calls.append((now + latency, permit))
    for at, _ in calls:
        in_progress = sum(1 for begin, end in calls if begin <= at < end + window_ns)
        assert in_progress <= rate


def test_a_permit_that_is_out_holds_its_slot() -> None:
    limiter = Limiter(rate=1, window_ns=SECOND)
    limiter.take(0)
    assert limiter.next_free_at(10 * SECOND) is None


def test_taking_too_early_is_refused() -> None:
    limiter = Limiter(rate=1, window_ns=SECOND)
    limiter.written(limiter.take(0), 0)
    with pytest.raises(TooEarly):
        limiter.take(SECOND)


@pytest.mark.parametrize(("rate", "window_ns"), [(0, SECOND), (1, 0)])
def test_a_limit_without_calls_or_time_is_refused(rate: int, window_ns: int) -> None:
    with pytest.raises(ValueError, match="at least one call"):
        Limiter(rate=rate, window_ns=window_ns)


def test_throttling_halves_the_pace_once_a_window_and_it_recovers_a_slot_a_window() -> None:
    limiter = Limiter(rate=10, window_ns=SECOND)
    full = limiter.calls_per_second
    limiter.throttled(0)
    limiter.throttled(SECOND // 2)  # a burst of refusals is one piece of news
    assert limiter.calls_per_second == pytest.approx(full / 2)
    assert limiter.is_narrowed(4 * SECOND)
    assert limiter.calls_per_second == pytest.approx(full * 0.9)
    assert not limiter.is_narrowed(5 * SECOND)
    assert limiter.calls_per_second == pytest.approx(full)


def test_a_narrowed_limiter_makes_fewer_calls() -> None:
    limiter = Limiter(rate=10, window_ns=SECOND)
    limiter.throttled(0)
    limiter.throttled(SECOND)
    limiter.throttled(2 * SECOND)
    now, writes = 2 * SECOND, 0
    while now < 3 * SECOND:
        now, permit = take_when_free(limiter, now)
        limiter.written(permit, now)
        writes += now < 3 * SECOND
    assert writes == 2


def test_silence_that_the_provider_asked_for_is_kept() -> None:
    limiter = Limiter(rate=10, window_ns=SECOND)
    limiter.throttled(0, closed_for_ns=30 * SECOND)
    assert limiter.next_free_at(1) == 30 * SECOND
    assert limiter.closed_until(1) == 30 * SECOND
    assert limiter.closed_until(30 * SECOND) is None


def test_it_counts_what_was_used() -> None:
    limiter = Limiter(rate=10, window_ns=SECOND)
    for at in (0, 100 * MS, 1200 * MS):
        limiter.written(limiter.take(at), at)
    assert limiter.writes_since(1300 * MS - SECOND) == 1
    assert limiter.writes_since(1300 * MS - 60 * SECOND) == 3


def test_a_shorter_silence_does_not_end_a_longer_one() -> None:
    limiter = Limiter(rate=10, window_ns=SECOND)
    limiter.throttled(0, closed_for_ns=30 * SECOND)
    limiter.throttled(SECOND, closed_for_ns=2 * SECOND)
    assert limiter.closed_until(SECOND) == 30 * SECOND
    limiter.throttled(2 * SECOND)
    assert limiter.next_free_at(2 * SECOND) == 30 * SECOND


def test_silence_alone_is_a_narrowed_limiter_too() -> None:
    limiter = Limiter(rate=1, window_ns=SECOND)
    assert not limiter.is_narrowed(0)
    limiter.throttled(0, closed_for_ns=3 * SECOND)
    assert limiter.is_narrowed(2 * SECOND)
    assert not limiter.is_narrowed(3 * SECOND)


def test_a_call_that_is_told_to_be_over_twice_gives_back_one_slot() -> None:
    limiter = Limiter(rate=2, window_ns=SECOND)
    first, _second = limiter.take(0), limiter.take(SECOND)
    limiter.written(first, SECOND)
    limiter.finished(first, SECOND)
    assert limiter.next_free_at(10 * SECOND) == 10 * SECOND
    limiter.take(10 * SECOND)
    assert limiter.next_free_at(20 * SECOND) is None, "two permits are out"


def test_a_window_longer_than_a_minute_is_looked_back_on_whole() -> None:
    limiter = Limiter(rate=10, window_ns=300 * SECOND)
    limiter.written(limiter.take(0), 0)
    limiter.written(limiter.take(20 * SECOND), 20 * SECOND)
    limiter.next_free_at(250 * SECOND)
    assert limiter.writes_since(-50 * SECOND) == 2
    assert limiter.writes_since(0) == 1, "after, not at"


def test_the_least_limit_is_one_call_and_one_nanosecond() -> None:
    limiter = Limiter(rate=1, window_ns=1)
    limiter.throttled(0)
    assert limiter.next_free_at(0) == 0

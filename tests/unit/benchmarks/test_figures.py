"""The benchmarks' arithmetic, since every published figure passes through it."""

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import percentile, tightest_seconds, use_of_limit, worst_window

SECOND = 1_000_000_000
times = st.lists(st.integers(0, 60 * SECOND), min_size=1, max_size=200)


@given(times)
def test_worst_window_is_the_most_of_all_windows_that_begin_at_an_arrival(arrivals: list[int]) -> None:
    by_hand = max(sum(start <= time < start + SECOND for time in arrivals) for start in arrivals)
    assert worst_window(arrivals) == by_hand


def test_a_window_does_not_hold_its_own_end() -> None:
    assert worst_window([0, SECOND]) == 1
    assert worst_window([0, SECOND - 1]) == 2


def test_ten_calls_each_second_use_all_of_the_limit() -> None:
    steady = [index * SECOND // 10 for index in range(1_000)]
    assert use_of_limit(steady, rate=10) == 1.0
    assert tightest_seconds(steady, count=11) == 1.0


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50))
def test_a_percentile_is_a_measured_value_between_the_extremes(values: list[float]) -> None:
    assert percentile(values, 0.5) in values
    assert percentile(values, 0.99) == max(values)


def test_the_median_of_twenty_is_the_tenth() -> None:
    assert percentile([float(value) for value in range(1, 21)], 0.5) == 10.0

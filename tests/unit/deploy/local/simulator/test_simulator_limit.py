"""The simulator's limit: no sliding window holds more admitted calls than allowed, and none is refused needlessly."""

from bisect import bisect_left
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from deploy.local.simulator.sliding_limit import NANOSECONDS, SlidingLimit

gaps_ns = st.lists(st.integers(0, NANOSECONDS // 4), min_size=1, max_size=80)


@given(gaps=gaps_ns, limit=st.integers(1, 10))
def test_no_window_holds_more_than_the_limit_and_no_room_is_wasted(gaps: list[int], limit: int) -> None:
    sliding = SlidingLimit(limit)
    admitted: list[int] = []
    for t_ns in accumulate(gaps):
        in_window = len(admitted) - bisect_left(admitted, t_ns - NANOSECONDS + 1)
        assert sliding.admit(t_ns) is (in_window < limit)
        if in_window < limit:
            admitted.append(t_ns)


@given(gaps=gaps_ns)
def test_without_a_limit_all_are_admitted(gaps: list[int]) -> None:
    sliding = SlidingLimit(0)
    assert all(sliding.admit(t_ns) for t_ns in accumulate(gaps))


def test_room_is_promised_in_whole_seconds() -> None:
    sliding = SlidingLimit(1, window_seconds=3)
    assert sliding.admit(0)
    assert not sliding.admit(NANOSECONDS // 2)
    assert sliding.wait_seconds(NANOSECONDS // 2) == 3
    assert sliding.wait_seconds(3 * NANOSECONDS - 1) == 1
    assert sliding.admit(3 * NANOSECONDS)

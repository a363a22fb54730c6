"""When a process counts as stuck."""

from hypothesis import given
from hypothesis import strategies as st

from services.runtime.stuck import StuckDetector


def test_a_process_is_stuck_when_work_waits_and_nothing_gets_done() -> None:
    detector = StuckDetector(patience_seconds=60)
    assert not detector.is_stuck(now=0, work_left=True, progress=1)
    assert not detector.is_stuck(now=59, work_left=True, progress=1)
    assert detector.is_stuck(now=60, work_left=True, progress=1)


@given(st.lists(st.tuples(st.floats(0, 30), st.booleans(), st.integers(0, 3)), max_size=40))
def test_progress_or_idleness_within_the_patience_is_never_stuck(steps: list[tuple[float, bool, int]]) -> None:
    detector = StuckDetector(patience_seconds=60)
    now, last_good, last_progress = 0.0, 0.0, None
    for wait, work_left, progress in steps:
        now += wait
        if not work_left or progress != last_progress:
            last_good, last_progress = now, progress
        assert detector.is_stuck(now=now, work_left=work_left, progress=progress) == (now - last_good >= 60)

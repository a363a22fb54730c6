"""How far a worker has read, and when it counts as stuck."""

from hypothesis import given
from hypothesis import strategies as st

from services.lookup.worker.read_position import Reading, Watchdog

ROWS, RESULTS = ("rows", 0), ("results", 0)


def a_reading(
    *,
    rows_end: int = 10,
    results_end: int = 5,
    results_committed: int = 0,
    processed: dict[tuple[str, int], int] | None = None,
) -> Reading:
    return Reading.begin(
        ends={ROWS: rows_end, RESULTS: results_end},
        begins={ROWS: 0, RESULTS: 0},
        committed={RESULTS: results_committed, ROWS: -1},
        processed=processed or {},
    )


def test_the_end_at_assignment_is_passed_once_its_last_record_is_processed() -> None:
    reading = a_reading()
    assert not reading.passed_ends("results")
    reading.advance(RESULTS, 4)
    assert not reading.passed_ends("results")
    reading.advance(RESULTS, 5)
    assert reading.passed_ends("results")
    assert not reading.passed_ends("rows")


def test_what_was_done_before_the_ends_were_known_counts() -> None:
    assert a_reading(processed={RESULTS: 5}).passed_ends("results")


def test_what_is_committed_already_or_removed_by_retention_needs_no_reading() -> None:
    assert a_reading(results_committed=5).passed_ends("results")
    assert Reading.begin(ends={RESULTS: 7}, begins={RESULTS: 7}, committed={}, processed={}).passed_ends("results")


def test_a_late_batch_of_a_former_assignment_does_not_turn_progress_back() -> None:
    reading = a_reading()
    reading.advance(RESULTS, 5)
    reading.advance(RESULTS, 2)
    assert reading.passed_ends("results")


def test_lag_counts_what_came_since() -> None:
    reading = a_reading()
    reading.advance(ROWS, 10)
    assert reading.lag({ROWS: 12, RESULTS: 5}) == 2 + 5
    assert reading.lag({ROWS: 12, RESULTS: 5}, "rows") == 2
    assert reading.lag({}) == 0


def test_a_worker_is_stuck_when_work_waits_and_nothing_gets_done() -> None:
    watchdog = Watchdog(patience_seconds=60)
    assert not watchdog.is_stuck(now=0, work_left=True, progress=1)
    assert not watchdog.is_stuck(now=59, work_left=True, progress=1)
    assert watchdog.is_stuck(now=60, work_left=True, progress=1)


@given(st.lists(st.tuples(st.floats(0, 30), st.booleans(), st.integers(0, 3)), max_size=40))
def test_progress_or_idleness_within_the_patience_is_never_stuck(steps: list[tuple[float, bool, int]]) -> None:
    watchdog = Watchdog(patience_seconds=60)
    now, last_good, last_progress = 0.0, 0.0, None
    for wait, work_left, progress in steps:
        now += wait
        if not work_left or progress != last_progress:
            last_good, last_progress = now, progress
        assert watchdog.is_stuck(now=now, work_left=work_left, progress=progress) == (now - last_good >= 60)

"""How far a worker has read."""

from services.lookup.worker.read_positions import ReadPositions

ROWS, RESULTS = ("rows", 0), ("results", 0)


def positions_of(
    *,
    rows_end: int = 10,
    results_end: int = 5,
    results_committed: int = 0,
    processed: dict[tuple[str, int], int] | None = None,
) -> ReadPositions:
    return ReadPositions.begin(
        ends={ROWS: rows_end, RESULTS: results_end},
        begins={ROWS: 0, RESULTS: 0},
        committed={RESULTS: results_committed, ROWS: -1},
        processed=processed or {},
    )


def test_the_end_at_assignment_is_passed_once_its_last_record_is_processed() -> None:
    positions = positions_of()
    assert not positions.passed_ends("results")
    positions.advance(RESULTS, 4)
    assert not positions.passed_ends("results")
    positions.advance(RESULTS, 5)
    assert positions.passed_ends("results")
    assert not positions.passed_ends("rows")


def test_what_was_done_before_the_ends_were_known_counts() -> None:
    assert positions_of(processed={RESULTS: 5}).passed_ends("results")


def test_what_is_committed_already_or_removed_by_retention_needs_no_reading() -> None:
    assert positions_of(results_committed=5).passed_ends("results")
    assert ReadPositions.begin(ends={RESULTS: 7}, begins={RESULTS: 7}, committed={}, processed={}).passed_ends(
        "results"
    )


def test_a_late_batch_of_a_former_assignment_does_not_turn_progress_back() -> None:
    positions = positions_of()
    positions.advance(RESULTS, 5)
    positions.advance(RESULTS, 2)
    assert positions.passed_ends("results")


def test_lag_counts_what_came_since() -> None:
    positions = positions_of()
    positions.advance(ROWS, 10)
    assert positions.lag({ROWS: 12, RESULTS: 5}) == 2 + 5
    assert positions.lag({ROWS: 12, RESULTS: 5}, "rows") == 2
    assert positions.lag({}) == 0

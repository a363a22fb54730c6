"""Windows, turns and the slow pace, under a virtual clock."""

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from services.ingest.feeder.window import (
    LAG_LIMIT_ROWS,
    SLOW_ROWS_PER_SECOND,
    TOTAL_ROWS,
    TRANSIT_ROWS,
    TURN_ROWS,
    WINDOW_ROWS,
    Pace,
    Rotation,
    shares,
    transit_rows,
    window_rows,
)

OWNER: defaultdict[str, str] = defaultdict(lambda: "o")


@given(active=st.integers(1, 100_000), share=st.floats(0.01, 1))
def test_windows_bound_each_upload_and_all_together(active: int, share: float) -> None:
    window = window_rows(active=active, share=share)
    assert 1 <= window <= WINDOW_ROWS
    assert window == 1 or window * active <= TOTAL_ROWS
    transit = transit_rows(active=active, share=share)
    assert transit == TURN_ROWS or transit * active <= TRANSIT_ROWS


@given(active=st.integers(1, 100), calls_left=st.integers(-5, 100_000))
def test_no_more_rows_are_open_than_calls_are_left(active: int, calls_left: int) -> None:
    assert 0 <= window_rows(active=active, calls_left=calls_left) <= max(0, calls_left)


@given(
    lag_rows=st.integers(LAG_LIMIT_ROWS + 1, 10**7),
    steps=st.lists(st.tuples(st.floats(0, 3), st.integers(0, TURN_ROWS)), min_size=1, max_size=60),
)
def test_while_the_worker_lags_500_rows_a_second_go_out_and_no_more(
    lag_rows: int, steps: list[tuple[float, int]]
) -> None:
    pace = Pace(lag_rows=lag_rows)
    now, sent = 0.0, 0
    pace.allowance(now)
    for elapsed, wish in steps:
        now += elapsed
        rows = min(wish, pace.allowance(now))
        pace.spend(rows)
        sent += rows
    assert sent <= 100 + now * SLOW_ROWS_PER_SECOND


@given(lag_rows=st.integers(LAG_LIMIT_ROWS + 1, 10**7), spent=st.integers(0, 100))
def test_it_never_stands_still(lag_rows: int, spent: int) -> None:
    pace = Pace(lag_rows=lag_rows)
    pace.allowance(0.0)
    pace.spend(spent)
    assert pace.allowance(0.2) >= SLOW_ROWS_PER_SECOND * 0.2 - 1


def test_without_lag_a_full_turn_goes_out_at_any_time() -> None:
    pace = Pace(lag_rows=LAG_LIMIT_ROWS)
    for _ in range(100):
        assert pace.allowance(1.0) == TURN_ROWS
        pace.spend(TURN_ROWS)


@given(
    rooms=st.lists(st.integers(0, 5 * TURN_ROWS), min_size=1, max_size=12),
    allowance=st.integers(1, TURN_ROWS),
)
def test_every_upload_with_room_is_served_within_one_round(rooms: list[int], allowance: int) -> None:
    allowed_rows = {f"u{i}": rows for i, rows in enumerate(rooms)}
    ready = {key for key, rows in allowed_rows.items() if rows > 0}
    rotation = Rotation()
    served = [rotation.next_turn(allowed_rows, owners=OWNER, allowance=allowance) for _ in range(len(ready))]
    assert {turn[0] for turn in served if turn is not None} == ready
    for turn in served:
        assert turn is not None
        key, rows = turn
        assert 1 <= rows <= min(allowed_rows[key], allowance)


@given(st.lists(st.sets(st.sampled_from("abcdef"), min_size=1), min_size=1, max_size=30))
def test_no_upload_waits_longer_than_the_others_have_turns(active_by_turn: list[set[str]]) -> None:
    rotation = Rotation()
    waiting: dict[str, int] = {}
    for active in active_by_turn:
        turn = rotation.next_turn(dict.fromkeys(sorted(active), 10), owners=OWNER, allowance=TURN_ROWS)
        assert turn is not None
        waiting = {key: waiting.get(key, 0) + 1 for key in active if key != turn[0]}
        assert all(turns <= 6 for turns in waiting.values())


def test_nothing_is_served_without_room_or_allowance() -> None:
    rotation = Rotation()
    assert rotation.next_turn({}, owners=OWNER, allowance=TURN_ROWS) is None
    assert rotation.next_turn({"a": 0}, owners=OWNER, allowance=TURN_ROWS) is None
    assert rotation.next_turn({"a": 5}, owners=OWNER, allowance=0) is None


def test_a_slow_allowance_is_shared() -> None:
    rotation = Rotation()
    allowed_rows = {"large": 50_000, "small": 3}
    assert rotation.next_turn(allowed_rows, owners=OWNER, allowance=100) == ("large", 50)
    assert rotation.next_turn(allowed_rows, owners=OWNER, allowance=50) == ("small", 3)


def test_thousands_of_uploads_of_one_owner_delay_no_other_owner() -> None:
    rotation = Rotation()
    owners = {f"many{number}": "hostile" for number in range(3_000)} | {"mine": "me"}
    allowed_rows = dict.fromkeys(owners, 10)
    served = [rotation.next_turn(allowed_rows, owners=owners, allowance=TURN_ROWS) for _ in range(4)]
    assert [turn and owners[turn[0]] for turn in served] == ["hostile", "me", "hostile", "me"]
    assert shares(owners) == {"hostile": 6_000, "me": 2}

"""The time left: the queue played forward gives every lane what fairness gives it, and nothing of the pace is lost."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.lookups import GateState, LaneStatus, LookupStatus
from services.assembler.status.eta import LAST_STEP_SECONDS, Feeding, LaneBacklog, eta_of, finish_seconds
from tests.fixtures.ids import upload_id

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
U = upload_id("u")
V = upload_id("v")
SMALL = upload_id("small")
LARGE = upload_id("large")
NEW = upload_id("new")
OLD = upload_id("old")
PAUSED = upload_id("paused")


def lane(
    of: str,
    *,
    pending: int,
    owner: str = "a",
    share: float = 1.0,
    calls: int = 0,
    retries: int = 0,
    why: str = "waiting_turn",
    backoff_seconds: float | None = None,
) -> LaneStatus:
    return LaneStatus(
        upload_id=of,
        owner=owner,
        pending=pending,
        in_backoff=0 if backoff_seconds is None else 1,
        in_flight=0,
        position=1,
        share=share,
        calls=calls,
        retries=retries,
        why=why,
        oldest_wanted_at=None,
        backoff_until=None if backoff_seconds is None else NOW + timedelta(seconds=backoff_seconds),
    )


SLOT = 0.1
"""At ten calls a second. The last call is written at the beginning of its slot."""


def status(*lanes: LaneStatus, state: GateState = "running", pace: float = 10.0) -> LookupStatus:
    return LookupStatus(
        instance="1",
        state=state,
        at=NOW,
        limit_calls=10,
        limit_window_seconds=1.0,
        pace_per_second=pace,
        used_last_window=0,
        calls_last_minute=0,
        pending=sum(one.pending for one in lanes),
        in_flight=0,
        in_backoff=0,
        retries=0,
        dead_letters=0,
        oldest_wanted_at=None,
        folded_offset=0,
        lanes=lanes,
        next=(),
    )


def middle_seconds(of: str, lookup: LookupStatus, feedings: dict[str, Feeding] | None = None) -> float:
    eta = eta_of(of, lookup, feedings or {}, now=NOW)
    assert eta is not None
    return (eta.from_ - NOW + (eta.to - NOW)).total_seconds() / 2 - LAST_STEP_SECONDS


def test_alone_an_upload_gets_the_whole_pace() -> None:
    assert middle_seconds(U, status(lane(U, pending=300))) == pytest.approx(30 - SLOT)


def test_phones_that_stand_in_two_lanes_are_called_once() -> None:
    lookup = status(lane(U, pending=100, share=0.5), lane(V, pending=100, owner="b", share=0.5))
    same_phones = lookup.model_copy(update={"pending": 100})
    assert middle_seconds(U, lookup) == pytest.approx(20 - SLOT)
    assert middle_seconds(U, same_phones) == pytest.approx(10 - SLOT)


def test_a_small_upload_beside_a_large_one_is_through_at_half_the_pace() -> None:
    lookup = status(lane(SMALL, pending=20, share=0.5), lane(LARGE, pending=1000, owner="b", share=0.5))
    assert middle_seconds(SMALL, lookup) == pytest.approx(4 - SLOT)
    assert middle_seconds(LARGE, lookup) == pytest.approx(102 - SLOT)


def test_an_owner_keeps_its_part_for_its_other_upload() -> None:
    lanes = [LaneBacklog("a1", "a", 10, 0.25), LaneBacklog("a2", "a", 100, 0.25), LaneBacklog("b1", "b", 1000, 0.5)]
    done = finish_seconds(lanes, 10.0)
    assert done["a1"] == pytest.approx(4)
    assert done["a2"] == pytest.approx(22), "after a1 the owner's 5 calls a second all go to a2"
    assert done["b1"] == pytest.approx(111)


def test_rows_that_are_not_in_the_queue_yet_count_with_their_share_of_the_plan() -> None:
    feeding = Feeding(unfed_rows=50_000, usable_rows=100_000, planned_calls=2_000)
    assert middle_seconds(U, status(lane(U, pending=500)), {U: feeding}) == pytest.approx(150 - SLOT)


def test_an_upload_that_has_not_reached_the_queue_joins_as_one_more_owner() -> None:
    feeding = Feeding(unfed_rows=100, usable_rows=100, planned_calls=100)
    assert middle_seconds(NEW, status(lane(OLD, pending=1000)), {NEW: feeding}) == pytest.approx(20 - SLOT)


def test_retries_take_slots_too() -> None:
    assert middle_seconds(U, status(lane(U, pending=100, calls=120, retries=20))) == pytest.approx(12 - SLOT)


@pytest.mark.parametrize("state", ["paused", "account_problem", "provider_down", "no_gate"])
def test_nobody_can_say_while_no_calls_are_made(state: GateState) -> None:
    assert eta_of(U, status(lane(U, pending=10), state=state), {}, now=NOW) is None
    assert eta_of(U, None, {}, now=NOW) is None


def test_a_paused_lane_has_no_end_and_takes_nothing_from_others() -> None:
    lookup = status(lane(PAUSED, pending=100, share=0.0, why="paused"), lane(U, pending=100, share=1.0))
    assert eta_of(PAUSED, lookup, {}, now=NOW) is None
    assert middle_seconds(U, lookup) == pytest.approx(10 - SLOT)


def test_the_age_of_the_gates_report_is_taken_off() -> None:
    later = NOW + timedelta(seconds=10)
    eta = eta_of(U, status(lane(U, pending=300)), {}, now=later)
    assert eta is not None
    assert eta.from_ <= NOW + timedelta(seconds=30) <= eta.to
    assert eta.from_ >= later


def test_after_a_pause_the_end_is_as_far_as_what_is_left() -> None:
    """What was made before, and how long the pause was, plays no part."""
    assert middle_seconds(U, status(lane(U, pending=100, calls=200))) == pytest.approx(10 - SLOT)


def test_nothing_ends_before_the_last_backoff_does() -> None:
    assert middle_seconds(U, status(lane(U, pending=20, backoff_seconds=30))) == pytest.approx(30)
    assert middle_seconds(U, status(lane(U, pending=600, backoff_seconds=30))) == pytest.approx(60 - SLOT)
    only_backoff = status(lane(U, pending=1, share=0.0, why="backoff", backoff_seconds=30))
    assert middle_seconds(U, only_backoff) == pytest.approx(30)


def test_a_narrowed_pace_recovers_and_one_narrowed_for_long_does_not() -> None:
    blip = status(lane(U, pending=300), state="throttled", pace=5.0).model_copy(update={"calls_last_minute": 570})
    assert middle_seconds(U, blip) == pytest.approx(299 / 9.5)
    lasting = blip.model_copy(update={"calls_last_minute": 240})
    assert middle_seconds(U, lasting) == pytest.approx(299 / 5)


def test_a_thousand_uploads_do_not_keep_a_page_waiting() -> None:
    """Each of fifty uploads of a page asks for its own end."""
    lanes = [LaneBacklog(str(n), f"owner {n % 300}", n + 1, 1 / 300) for n in range(5_000)]
    begun = time.process_time()
    done = finish_seconds(lanes, 10.0)
    assert time.process_time() - begun < 0.5, "a tenth of it is usual; every lane against every other took minutes"
    assert max(done.values()) == pytest.approx(sum(one.calls for one in lanes) / 10)


LANES = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 10_000), st.integers(1, 5)), min_size=1, max_size=12)


@given(LANES, st.floats(0.1, 1000))
def test_the_last_lane_ends_when_all_calls_are_made(drawn: list[tuple[str, int, int]], pace: float) -> None:
    lanes = [LaneBacklog(str(n), owner, calls, weight) for n, (owner, calls, weight) in enumerate(drawn)]
    done = finish_seconds(lanes, pace)
    assert set(done) == {one.upload_id for one in lanes}
    assert max(done.values()) == pytest.approx(sum(one.calls for one in lanes) / pace, rel=1e-6)


@given(LANES)
def test_nobody_is_served_faster_than_the_whole_pace_nor_slower_than_the_share(
    drawn: list[tuple[str, int, int]],
) -> None:
    lanes = [LaneBacklog(str(n), owner, calls, weight) for n, (owner, calls, weight) in enumerate(drawn)]
    total = sum(one.weight for one in lanes)
    done = finish_seconds(lanes, 10.0)
    for one in lanes:
        fair = one.calls / (10.0 * one.weight / total)
        assert one.calls / 10.0 - 1e-6 <= done[one.upload_id] <= fair * (1 + 1e-6)

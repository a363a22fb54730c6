"""Who is called next: fair, in order, once, and at once as people decide."""

from collections import Counter
from datetime import timedelta
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.lookup.gate.lanes import Entry, EntryState
from services.lookup.gate.queue import DROPPED_AT_ONCE, LookupQueue
from tests.fixtures.ids import upload_id
from tests.unit.lookup.gate.requests import NOW, name_of, phone, request


def put(queue: LookupQueue, numbers: range, upload: str, *, owner: str = "owner-1", priority: int = 3) -> None:
    for number in numbers:
        message = request(number, upload, owner=owner, priority=priority)
        queue.want(message, offset=number, priority=priority, paused=False)


def call(queue: LookupQueue) -> tuple[str, str] | None:
    """One call, answered at once: the phone and who paid."""
    taken = queue.take()
    if taken is None:
        return None
    entry, lane = taken
    payer = name_of(lane.upload_id)
    queue.withdraw(entry, entry.asks)
    queue.release(entry)
    return entry.phone, payer


def payers(queue: LookupQueue, calls: int) -> Counter[str]:
    """Who pays for the next calls."""
    return Counter(one[1] for one in (call(queue) for _ in range(calls)) if one is not None)


def called_phone(queue: LookupQueue) -> str | None:
    one = call(queue)
    return None if one is None else one[0]


def call_all(queue: LookupQueue) -> list[tuple[str, str]]:
    made = []
    while (one := call(queue)) is not None:
        made.append(one)
    return made


@settings(deadline=None, max_examples=40)
@given(small=st.integers(1, 20), large=st.integers(1, 6), before=st.integers(0, 200))
def test_a_small_upload_is_done_in_its_share_of_calls_beside_large_ones(small: int, large: int, before: int) -> None:
    queue = LookupQueue()
    for number in range(large):
        put(queue, range(number * 1000, number * 1000 + 450), f"large-{number}", owner=f"owner-{number}")
    for _ in range(before):
        assert call(queue)
    put(queue, range(9000, 9000 + small), "small", owner="owner-small")
    assert payers(queue, small * (large + 1))["small"] == small


def test_an_upload_alone_gets_every_call_in_order_of_arrival() -> None:
    queue = LookupQueue()
    put(queue, range(50), "u1", priority=5)
    assert [number for number, _ in call_all(queue)] == [phone(number) for number in range(50)]


def test_owners_share_alike_however_many_uploads_they_have() -> None:
    queue = LookupQueue()
    for number in range(4):
        put(queue, range(number * 100, number * 100 + 100), f"a{number}", owner="a")
    put(queue, range(5000, 5100), "b", owner="b")
    assert payers(queue, 100)["b"] == 50


def test_priority_weighs_between_uploads_of_an_owner() -> None:
    queue = LookupQueue()
    put(queue, range(500), "high", priority=1)
    put(queue, range(1000, 1500), "low", priority=3)
    assert payers(queue, 100) == {"high": 80, "low": 20}


def test_a_change_of_priority_acts_on_the_backlog_at_once() -> None:
    queue = LookupQueue()
    put(queue, range(500), "u1")
    put(queue, range(1000, 1500), "u2")
    payers(queue, 10)
    queue.set_priority(upload_id("u2"), 1)
    assert payers(queue, 100)["u2"] == pytest.approx(80, abs=4)


def test_a_phone_of_several_uploads_is_called_once_and_answers_all() -> None:
    queue = LookupQueue()
    put(queue, range(100), "u1")
    put(queue, range(50, 150), "u2")
    made = call_all(queue)
    assert len(made) == 150
    assert len({number for number, _ in made}) == 150
    assert list(queue.lanes) == []


def test_a_request_that_comes_during_the_call_joins_it() -> None:
    queue = LookupQueue()
    put(queue, range(1), "u1")
    taken = queue.take()
    assert taken is not None
    put(queue, range(1), "u2")
    assert queue.take() is None
    assert {name_of(ask.upload_id) for ask in taken[0].asks} == {"u1", "u2"}


def test_a_pause_stops_an_upload_but_not_a_phone_that_others_await() -> None:
    queue = LookupQueue()
    put(queue, range(10), "u1")
    put(queue, range(5, 15), "u2")
    queue.set_paused(upload_id("u1"), True)
    assert sorted(number for number, _ in call_all(queue)) == [phone(number) for number in range(5, 15)]
    queue.set_paused(upload_id("u1"), False)
    assert [number for number, _ in call_all(queue)] == [phone(number) for number in range(5)]


def test_a_cancel_takes_out_the_backlog_and_leaves_phones_that_others_await() -> None:
    queue = LookupQueue()
    put(queue, range(10), "u1")
    put(queue, range(5, 15), "u2")
    dropped = [each for step in queue.drop_lane(upload_id("u1")) for each in step]
    assert [entry.phone for entry, _ in dropped] == [phone(number) for number in range(10)]
    assert sorted(number for number, _ in call_all(queue)) == [phone(number) for number in range(5, 15)]


def test_a_large_upload_goes_in_steps_and_has_no_turn_from_the_first_one_on() -> None:
    queue = LookupQueue()
    put(queue, range(3 * DROPPED_AT_ONCE), "large", owner="owner-1")
    put(queue, range(DROPPED_AT_ONCE, DROPPED_AT_ONCE + 3), "other", owner="owner-2")
    steps = queue.drop_lane(upload_id("large"))
    dropped = len(next(steps))
    made = [call(queue)]
    for step in steps:
        assert len(step) <= DROPPED_AT_ONCE
        dropped += len(step)
        made.append(call(queue))
    assert [one[1] for one in made if one is not None] == ["other"] * 3
    # What the other upload was answered meanwhile was settled for both.
    assert dropped >= 3 * DROPPED_AT_ONCE - 3
    assert list(queue.lanes) == []


def test_an_upload_knows_when_the_last_of_its_backoffs_ends() -> None:
    queue = LookupQueue()
    put(queue, range(2), "u1")
    for seconds in (30, 10):
        taken = queue.take()
        assert taken is not None
        queue.back_off(taken[0], NOW + timedelta(seconds=seconds))
    put(queue, range(1), "u2")
    for name in ("u1", "u2"):
        lane = queue.lane(upload_id(name))
        assert lane is not None
        assert lane.last_due_at == (NOW + timedelta(seconds=30)).timestamp()


def test_phones_in_backoff_block_nobody_and_go_first_when_it_is_over() -> None:
    queue = LookupQueue()
    put(queue, range(20), "u1")
    failed: list[Entry] = []
    for _ in range(10):
        taken = queue.take()
        assert taken is not None
        failed.append(taken[0])
        queue.back_off(taken[0], NOW + timedelta(seconds=30))
    assert called_phone(queue) == phone(10)
    queue.advance(NOW + timedelta(seconds=29))
    assert called_phone(queue) == phone(11)
    queue.advance(NOW + timedelta(seconds=30))
    assert [number for number, _ in call_all(queue)] == [entry.phone for entry in failed] + [
        phone(number) for number in range(12, 20)
    ]


def test_a_call_that_was_not_made_keeps_its_place() -> None:
    queue = LookupQueue()
    put(queue, range(3), "u1")
    taken = queue.take()
    assert taken is not None
    queue.release(taken[0])
    assert [number for number, _ in call_all(queue)] == [phone(number) for number in range(3)]


def test_looking_ahead_tells_the_order_and_changes_nothing() -> None:
    queue = LookupQueue()
    put(queue, range(100), "u1", priority=2)
    put(queue, range(1000, 1100), "u2")
    put(queue, range(2000, 2100), "u3", owner="owner-2")
    ahead = [name_of(lane.upload_id) for lane in islice(queue.turns.ahead(), 30)]
    assert [one[1] for one in (call(queue) for _ in range(30)) if one is not None] == ahead


def test_shares_add_up_to_one_over_those_who_can_be_called() -> None:
    queue = LookupQueue()
    put(queue, range(10), "u1", priority=1)
    put(queue, range(100, 110), "u2")
    put(queue, range(200, 210), "u3", owner="owner-2")
    put(queue, range(300, 310), "u4", owner="owner-2")
    queue.set_paused(upload_id("u4"), True)
    shares = {name_of(upload): share for upload, share in queue.turns.shares().items()}
    assert shares == pytest.approx({"u1": 0.4, "u2": 0.1, "u3": 0.5})


def test_totals_count_a_shared_phone_once() -> None:
    queue = LookupQueue()
    put(queue, range(10), "u1")
    put(queue, range(10), "u2")
    assert queue.total(EntryState.WAITING) == 10
    assert [lane.count[EntryState.WAITING] for lane in queue.lanes] == [10, 10]


def witness(queue: LookupQueue, *, tried: list[str], blamed: set[str], asked: dict[str, int]) -> tuple[str, str] | None:
    taken = queue.take_probe(
        tried, {upload_id(each) for each in blamed}, {upload_id(each): turn for each, turn in asked.items()}
    )
    return None if taken is None else (taken[0].phone, name_of(taken[1].upload_id))


def test_a_witness_is_from_the_end_of_the_line_of_an_upload_that_is_not_blamed_and_was_not_asked_lately() -> None:
    queue = LookupQueue()
    for number, name in enumerate(("blamed", "asked", "asked before", "new")):
        put(queue, range(100 * number, 100 * number + 3), name, owner=f"owner-{number}")
    asked = {"asked": 2, "asked before": 1}
    tried = [phone(302)]
    found = [witness(queue, tried=tried, blamed={"blamed"}, asked=asked) for _ in range(5)]
    assert found == [
        (phone(301), "new"),
        (phone(300), "new"),
        (phone(202), "asked before"),
        (phone(201), "asked before"),
        (phone(200), "asked before"),
    ]
    assert queue.total(EntryState.CALLED) == 5
    rest = [witness(queue, tried=tried, blamed={"blamed"}, asked=asked) for _ in range(8)]
    assert [one[1] for one in rest if one is not None] == ["asked"] * 3 + ["blamed"] * 3 + ["new"]
    assert rest[-1] is None


def test_if_all_were_tried_the_first_of_them_is_the_witness_on_the_turn_of_who_may_pay() -> None:
    queue = LookupQueue()
    put(queue, range(3), "u1")
    put(queue, range(1, 3), "u2")
    tried = [phone(9), phone(2), phone(1), phone(0)]
    queue.set_paused(upload_id("u1"), True)
    assert witness(queue, tried=tried, blamed=set(), asked={}) == (phone(2), "u2")
    assert witness(queue, tried=tried, blamed=set(), asked={}) == (phone(1), "u2")
    assert witness(queue, tried=tried, blamed=set(), asked={}) is None
    queue.set_paused(upload_id("u1"), False)
    assert queue.take_probe(tried, set(), {}, lambda _lane: False) is None
    assert queue.take_probe([], set(), {}, lambda _lane: False) is None
    assert witness(queue, tried=tried, blamed=set(), asked={}) == (phone(0), "u1")


def test_whom_else_there_is_to_ask() -> None:
    queue = LookupQueue()
    put(queue, range(2), "u1")
    put(queue, range(10, 11), "u2")
    assert queue.has_other({upload_id("u1")})
    assert not queue.has_other({upload_id("u1"), upload_id("u2")})
    assert queue.has_untried({phone(0), phone(10)})
    assert not queue.has_untried({phone(0), phone(1), phone(10)})
    queue.set_paused(upload_id("u2"), True)
    assert not queue.has_other({upload_id("u1")})
    assert not queue.has_untried({phone(0), phone(1)})


def test_who_may_not_pay_has_no_turn_and_is_refused_so_many_at_a_time() -> None:
    queue = LookupQueue()
    put(queue, range(5), "poor")
    put(queue, range(10, 12), "rich", owner="owner-2")
    assert queue.take_spent(9) is None
    assert queue.next_spent() is None
    taken = [queue.take(lambda lane: name_of(lane.upload_id) == "rich") for _ in range(3)]
    assert [each[0].phone for each in taken if each is not None] == [phone(10), phone(11)]
    lane = queue.next_spent()
    assert lane is not None
    assert name_of(lane.upload_id) == "poor"
    sizes = []
    while (refused := queue.take_spent(2)) is not None:
        assert refused[0] is lane
        sizes.append([entry.phone for entry in refused[1]])
    assert sizes == [[phone(0), phone(1)], [phone(2), phone(3)], [phone(4)]]


def test_the_first_backoff_to_end_is_the_next_that_is_due_and_a_later_one_replaces_it() -> None:
    queue = LookupQueue()
    put(queue, range(2), "u1")
    assert queue.next_due_at() is None
    first, second = queue.take(), queue.take()
    assert first is not None
    assert second is not None
    queue.back_off(first[0], NOW + timedelta(seconds=30))
    queue.back_off(second[0], NOW + timedelta(seconds=20))
    assert queue.next_due_at() == (NOW + timedelta(seconds=20)).timestamp()
    queue.back_off(second[0], NOW + timedelta(seconds=90))
    queue.advance(NOW + timedelta(seconds=30))
    assert (queue.total(EntryState.WAITING), queue.total(EntryState.BACKOFF)) == (1, 1)
    queue.advance(NOW + timedelta(seconds=90))
    assert (queue.total(EntryState.WAITING), queue.total(EntryState.BACKOFF)) == (2, 0)
    assert queue.next_due_at() is None


def test_the_oldest_question_of_an_upload_is_told() -> None:
    queue = LookupQueue()
    for hours in (2, 5, 3):
        message = request(hours, "u1", wanted_at=NOW - timedelta(hours=hours))
        queue.want(message, offset=hours, priority=3, paused=False)
    lane = queue.lane(upload_id("u1"))
    assert lane is not None
    assert lane.oldest_wanted_at == NOW - timedelta(hours=5)


def test_phones_whose_backoff_is_over_are_foretold_first() -> None:
    queue = LookupQueue()
    put(queue, range(3), "u1")
    taken = queue.take()
    assert taken is not None
    queue.back_off(taken[0], NOW)
    queue.advance(NOW)
    assert [entry.phone for entry in taken[1].waiting()] == [phone(0), phone(1), phone(2)]

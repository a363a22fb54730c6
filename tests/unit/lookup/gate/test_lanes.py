"""A phone that few or thousands wait for keeps the same account of who asks what."""

from hypothesis import given
from hypothesis import strategies as st

from services.lookup.gate.lanes import Ask, Entry, Lane
from tests.unit.lookup.gate.requests import NOW, id_of, phone, request

LANES = [Lane(id_of(f"u{number}"), "o", priority=3, paused=False, opened=True) for number in range(12)]
ASKS = [lane.ask_for(request(1, f"u{number}", round_=round_)) for number, lane in enumerate(LANES) for round_ in (0, 1)]
moves = st.lists(st.tuples(st.booleans(), st.sets(st.sampled_from(range(len(ASKS))), max_size=6)), max_size=30)


@given(moves=moves)
def test_who_asks_is_kept_however_many_they_are(moves: list[tuple[bool, set[int]]]) -> None:
    first = ASKS[0]
    entry, expected = Entry(phone(1), first.alone, 0), {first}
    for adds, which in moves:
        chosen = {ASKS[number] for number in which}
        if adds:
            for ask in chosen - expected:
                entry.add(ask)
            expected |= chosen
        else:
            before = {ask.lane for ask in expected}
            left = entry.remove(chosen)
            expected -= chosen
            assert set(left) == before - {ask.lane for ask in expected}
            assert len(left) == len(set(left))
        agree(entry, expected)


def agree(entry: Entry, expected: set[Ask]) -> None:
    assert set(entry.asks) == expected
    assert len(entry.asks) == len(expected)
    assert entry.is_wanted == bool(expected)
    assert set(entry.lanes()) == {ask.lane for ask in expected}
    for lane in LANES:
        assert set(entry.of(lane)) == {ask for ask in expected if ask.lane is lane}
        assert entry.has(lane) == any(ask.lane is lane for ask in expected)
        assert entry.has_only(lane) == all(ask.lane is lane for ask in expected) or not expected


def test_an_upload_whose_requests_all_differ_keeps_no_list_of_them() -> None:
    lane = Lane(id_of("u1"), "o", priority=3, paused=False, opened=True)
    for second in range(3_000):
        lane.ask_for(
            request(1, wanted_at=NOW.replace(minute=second // 60 % 60, second=second % 60, hour=second // 3600))
        )
    assert len(lane.asks) <= 1_000
    assert lane.oldest_wanted_at == NOW

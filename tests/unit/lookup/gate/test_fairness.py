"""Turns are shared by weight, in rounds, and whoever has work gets a turn in each."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from services.lookup.gate.fairness import WEIGHTS, DeficitRoundRobin

weights = st.lists(st.sampled_from(sorted(WEIGHTS.values())), min_size=1, max_size=8)


def turns(wheel: DeficitRoundRobin[int], count: int) -> list[int]:
    served = []
    for _ in range(count):
        key = wheel.head()
        assert key is not None
        wheel.charge(key)
        served.append(key)
    return served


@given(weights=weights, rounds=st.integers(1, 40))
def test_over_time_each_gets_its_share(weights: list[float], rounds: int) -> None:
    wheel: DeficitRoundRobin[int] = DeficitRoundRobin(lambda key: weights[key])
    for key in range(len(weights)):
        wheel.add(key)
    count = int(sum(weights) * rounds * 4)
    served = Counter(turns(wheel, count))
    for key, weight in enumerate(weights):
        fair = count * weight / sum(weights)
        assert abs(served[key] - fair) <= 2 * max(1.0, weight) + 1


@given(weights=weights, start=st.integers(0, 200))
def test_nobody_waits_longer_than_a_round_of_the_others(weights: list[float], start: int) -> None:
    wheel: DeficitRoundRobin[int] = DeficitRoundRobin(lambda key: weights[key])
    for key in range(len(weights)):
        wheel.add(key)
    turns(wheel, start)
    newcomer = len(weights)
    weights.append(1.0)
    wheel.add(newcomer)
    longest = sum(weight + 1 for weight in weights)
    assert newcomer in turns(wheel, int(longest) + 1)


def test_alike_take_turns_one_by_one() -> None:
    wheel: DeficitRoundRobin[int] = DeficitRoundRobin(lambda _key: 1.0)
    for key in (1, 2, 3):
        wheel.add(key)
    assert turns(wheel, 7) == [1, 2, 3, 1, 2, 3, 1]


def test_alone_gets_everything_whatever_the_weight() -> None:
    wheel: DeficitRoundRobin[int] = DeficitRoundRobin(lambda _key: WEIGHTS[5])
    wheel.add(1)
    assert turns(wheel, 9) == [1] * 9


def test_who_leaves_forfeits_what_was_left() -> None:
    wheel: DeficitRoundRobin[int] = DeficitRoundRobin(lambda key: 4.0 if key == 1 else 1.0)
    wheel.add(1)
    wheel.add(2)
    assert turns(wheel, 1) == [1]
    wheel.discard(1)
    wheel.add(1)
    assert turns(wheel, 2) == [2, 1]


def test_nobody_has_a_turn_on_an_empty_wheel() -> None:
    wheel: DeficitRoundRobin[int] = DeficitRoundRobin(lambda _key: 1.0)
    wheel.add(1)
    wheel.discard(1)
    wheel.discard(1)
    assert wheel.head() is None


def test_looking_ahead_changes_nothing() -> None:
    wheel: DeficitRoundRobin[int] = DeficitRoundRobin(float)
    for key in (1, 2):
        wheel.add(key)
    ahead = turns(wheel.copy(), 6)
    assert turns(wheel, 6) == ahead


def test_a_lower_weight_takes_back_credit() -> None:
    chosen = {1: 4.0, 2: 1.0}
    wheel: DeficitRoundRobin[int] = DeficitRoundRobin(lambda key: chosen[key])
    wheel.add(1)
    wheel.add(2)
    assert turns(wheel, 1) == [1]
    chosen[1] = 1.0
    wheel.weight_changed(1)
    assert turns(wheel, 3) == [1, 2, 1]


def test_a_wheel_looks_ahead_from_the_middle_of_a_turn_as_well() -> None:
    for taken in range(8):
        wheel: DeficitRoundRobin[int] = DeficitRoundRobin(lambda key: {1: 0.5, 2: 2.0, 3: 1.0}[key])
        for key in (1, 2, 3):
            wheel.add(key)
        turns(wheel, taken)
        wheel.head()
        ahead = turns(wheel.copy(), 9)
        assert turns(wheel, 9) == ahead


def test_who_leaves_from_behind_does_not_disturb_whose_turn_it_is() -> None:
    wheel: DeficitRoundRobin[int] = DeficitRoundRobin(lambda key: 2.0 if key == 1 else 1.0)
    for key in (1, 2, 3):
        wheel.add(key)
    assert turns(wheel, 1) == [1]
    wheel.discard(2)
    assert turns(wheel, 4) == [1, 3, 1, 1]
    assert (len(wheel), 1 in wheel, 2 in wheel, wheel.members()) == (2, True, False, wheel.members())


def test_a_weight_that_did_not_change_takes_nothing_back() -> None:
    wheel: DeficitRoundRobin[int] = DeficitRoundRobin(lambda key: 4.0 if key == 1 else 1.0)
    wheel.add(1)
    wheel.add(2)
    assert turns(wheel, 1) == [1]
    for key in (1, 2, 3):
        wheel.weight_changed(key)
    wheel.add(1)
    assert turns(wheel, 4) == [1, 1, 1, 2]


def test_each_step_of_priority_doubles_and_the_default_has_one_call_a_round() -> None:
    ordered = [WEIGHTS[priority] for priority in (5, 4, 3, 2, 1)]
    assert ordered == [0.25, 0.5, 1.0, 2.0, 4.0]

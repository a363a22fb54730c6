"""The record that ends a batch is found, the others are worked on once and in order, and outages pass through."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.halves import find_by_halves


class Away(Exception):
    """The database is away: no record's fault."""


class Work:
    """Adds up what it was given; fails on some items as a whole, before it has done anything."""

    def __init__(self, bad: set[int]) -> None:
        self.bad = bad
        self.done: list[int] = []
        self.attempts = 0

    async def attempt(self, items: Sequence[int]) -> None:
        self.attempts += 1
        if self.bad & set(items):
            raise OverflowError
        self.done.extend(items)


def is_away(error: Exception) -> bool:
    return isinstance(error, Away)


@given(st.integers(1, 200), st.sets(st.integers(0, 199), max_size=5))
async def test_culprits_are_found_and_the_rest_is_done_once_in_order(count: int, bad: set[int]) -> None:
    work = Work(bad)
    culprits = await find_by_halves(range(count), work.attempt, is_environment=is_away)
    found = [culprit.index for culprit in culprits]
    assert found == sorted(bad & set(range(count)))
    assert work.done == [item for item in range(count) if item not in bad]


async def test_one_culprit_among_thousands_costs_few_attempts() -> None:
    work = Work({2_345})
    await find_by_halves(range(5_000), work.attempt, is_environment=is_away)
    assert work.attempts <= 2 * 13 + 1


async def test_an_outage_is_nobodys_fault() -> None:
    async def fails(_items: Sequence[int]) -> None:
        raise Away

    with pytest.raises(Away):
        await find_by_halves(range(10), fails, is_environment=is_away)

"""A test that waits in vain says for what, and what it saw instead."""

import asyncio

import pytest

from tests.support.waiting import eventually, eventually_sync


async def test_the_first_true_value_is_returned_awaited_or_not() -> None:
    values = iter([0, None, 3, 4])

    async def look() -> int | None:
        return next(values)

    assert await eventually(look, what="three", pause_seconds=0) == 3
    assert await eventually(lambda: next(values), what="four", pause_seconds=0) == 4


async def test_a_wait_in_vain_says_for_what_and_what_was_seen_last() -> None:
    with pytest.raises(AssertionError, match=r"waited 0\.01 s in vain for a miracle; last seen: \[\]"):
        await eventually(lambda: [], what=lambda: "a miracle", seconds=0.01, pause_seconds=0)
    with pytest.raises(AssertionError, match=r"waited 0 s in vain for a miracle; last seen: ''"):
        eventually_sync(lambda: "", what="a miracle", seconds=0)


async def test_a_look_that_hangs_does_not_hang_the_test() -> None:
    with pytest.raises(AssertionError, match="a sign; last seen: 'nothing yet'"):
        await eventually(asyncio.Event().wait, what="a sign", seconds=0.01)


async def test_an_error_of_the_look_is_not_taken_for_lost_patience() -> None:
    async def look() -> bool:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        await eventually(look, what="nothing")


def test_the_sync_form_returns_the_first_true_value() -> None:
    values = iter([0, 3])
    assert eventually_sync(lambda: next(values), what="three", pause_seconds=0) == 3

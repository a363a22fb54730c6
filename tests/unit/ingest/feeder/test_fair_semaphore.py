"""Whose file is read next: owners take turns, and nobody who gave up holds a place."""

import asyncio

from services.ingest.feeder.fair_semaphore import FairSemaphore


async def test_many_files_of_one_owner_keep_no_other_waiting() -> None:
    turns, order = FairSemaphore(1), list[str]()
    release = asyncio.Event()

    async def read(owner: str) -> None:
        async with turns.slot(owner):
            order.append(owner)
            await release.wait()

    readings = [asyncio.create_task(read(owner)) for owner in [*["many"] * 500, "a", "b", "a"]]
    await asyncio.sleep(0)
    release.set()
    await asyncio.gather(*readings)
    assert order[:6] == ["many", "many", "a", "b", "many", "a"]
    assert order[6:] == ["many"] * 497


async def test_never_more_at_once_than_allowed_also_when_some_give_up() -> None:
    turns = FairSemaphore(2)
    now = most = done = 0

    async def read() -> None:
        nonlocal now, most, done
        async with turns.slot("o"):
            now += 1
            most = max(most, now)
            try:
                await asyncio.sleep(0)
            finally:
                now -= 1
            done += 1

    readings = [asyncio.create_task(read()) for _ in range(100)]
    await asyncio.sleep(0)
    for reading in readings[::3]:
        reading.cancel()
    await asyncio.gather(*readings, return_exceptions=True)
    await asyncio.gather(*(read() for _ in range(10)))
    assert most == 2
    assert now == 0
    assert done >= 66 + 10


async def test_a_turn_that_was_given_to_somebody_who_gives_up_is_passed_on() -> None:
    turns, got = FairSemaphore(1), asyncio.Event()

    async def hold(until: asyncio.Event) -> None:
        async with turns.slot("o"):
            await until.wait()

    async def take() -> None:
        async with turns.slot("o"):
            got.set()

    release = asyncio.Event()
    holder = asyncio.create_task(hold(release))
    await asyncio.sleep(0)
    first, second = asyncio.create_task(take()), asyncio.create_task(take())
    await asyncio.sleep(0)
    release.set()
    await holder
    first.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    assert got.is_set()

"""Finds the records that make the work on a batch fail, so that they can be put aside and the others are done."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Culprit:
    """An item that the work failed on, alone, and the error. Only the error's type may be shown: its text may not."""

    index: int
    error: Exception


async def find_by_halves(
    items: Sequence[R],
    attempt: Callable[[Sequence[R]], Awaitable[object]],
    *,
    is_environment: Callable[[Exception], bool],
) -> list[Culprit]:
    """Works on all items, in order; returns those that the work fails on even alone, by their index.

    `attempt` works on some neighbouring items and either does all of it or raises; what it has done stands. A batch
    that fails is tried again in halves, so one culprit among n costs about 2 log n attempts more.

    Raises:
        Exception: whatever `attempt` raised that `is_environment` says is not the items' fault (Kafka's, the
            database's). What was done before it stands.
    """
    return await _work(items, 0, attempt, is_environment)


async def _work(
    items: Sequence[R],
    begin: int,
    attempt: Callable[[Sequence[R]], Awaitable[object]],
    is_environment: Callable[[Exception], bool],
) -> list[Culprit]:
    try:
        await attempt(items)
    except Exception as error:
        if is_environment(error) or not items:
            raise
        if len(items) == 1:
            return [Culprit(begin, error)]
    else:
        return []
    middle = len(items) // 2
    first = await _work(items[:middle], begin, attempt, is_environment)
    second = await _work(items[middle:], begin + middle, attempt, is_environment)
    return [*first, *second]

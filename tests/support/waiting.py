"""Owns the one way in which tests wait: it looks until there is something, or says what was awaited and seen last."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, Final, TypeVar, overload

T = TypeVar("T")
What = str | Callable[[], str]
PATIENCE_SECONDS: Final = 60.0
PAUSE_SECONDS: Final = 0.05


@overload
async def eventually(
    look: Callable[[], Awaitable[T | None]], *, what: What, seconds: float = ..., pause_seconds: float = ...
) -> T: ...


@overload
async def eventually(
    look: Callable[[], T | None], *, what: What, seconds: float = ..., pause_seconds: float = ...
) -> T: ...


async def eventually(
    look: Callable[[], Any],
    *,
    what: What,
    seconds: float = PATIENCE_SECONDS,
    pause_seconds: float = PAUSE_SECONDS,
) -> Any:
    """The first true value of `look`, awaited if need be.

    `what` completes "waited in vain for ..."; it is called then, if only the end can tell it.

    Raises:
        AssertionError: there was none within `seconds`. It tells the last value.
    """
    seen: object = "nothing yet"
    try:
        async with asyncio.timeout(seconds) as patience:
            while True:
                value = look()
                seen = await value if isawaitable(value) else value
                if seen:
                    return seen
                await asyncio.sleep(pause_seconds)
    except TimeoutError as error:
        if not patience.expired():
            raise
        raise AssertionError(_in_vain(what, seconds, seen)) from error


def eventually_sync(
    look: Callable[[], T | None],
    *,
    what: What,
    seconds: float = PATIENCE_SECONDS,
    pause_seconds: float = PAUSE_SECONDS,
) -> T:
    """As `eventually`, for code without an event loop."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() >= deadline:
            raise AssertionError(_in_vain(what, seconds, found))
        time.sleep(pause_seconds)


def _in_vain(what: What, seconds: float, seen: object) -> str:
    awaited = what if isinstance(what, str) else what()
    return f"waited {seconds:g} s in vain for {awaited}; last seen: {repr(seen)[:500]}"

"""Gives each call its permit at the moment its request is written, to the millisecond, in the order of asking."""

import asyncio
from collections.abc import Callable
from enum import Enum
from time import monotonic_ns

from services.lookup.gate.limiter import Limiter, Permit

_LONGEST_SPIN_NS = 3_000_000
_SPIN_SHARE = 0.03
"""Timers of an event loop are late by a millisecond or two; lateness adds up, as each slot's window begins with its
write. The last stretch is therefore waited out turn by turn of the loop, for at most this share of the time: at 10
calls/s the last 3 of 100 ms."""
_LONGEST_SLEEP_SECONDS = 0.05


class Verdict(Enum):
    """What stands in the way of a call at the socket: nothing; something that passes; or it should not be made."""

    GO = "go"
    HOLD = "hold"
    DROP = "drop"


class Withdrawn(Exception):
    """The call is not to be made after all, or not on this connection; nothing was written."""


class Pacer:
    """The limiter on the real clock. Permits are given one after the other, first come, first served.

    Whoever waits longer than `patience_seconds` holds a connection that its server may have closed by now.
    """

    def __init__(self, limiter: Limiter, *, patience_seconds: float) -> None:
        self._limiter = limiter
        self._patience_ns = round(patience_seconds * 1e9)
        self._spin_ns = min(_LONGEST_SPIN_NS, int(_SPIN_SHARE * limiter.window_ns / limiter.rate))
        self._turn = asyncio.Lock()

    async def permit(self, judge: Callable[[], Verdict]) -> Permit:
        """Waits until a request may be written. The caller writes at once and tells the limiter.

        Raises:
            Withdrawn: `judge` says so, at the latest in the instant in which the permit would have been given; or the
                caller has waited so long that its connection may have ended.
        """
        asked_at = monotonic_ns()
        async with self._turn:
            while True:
                verdict = judge()
                now = monotonic_ns()
                if verdict is Verdict.DROP or now - asked_at > self._patience_ns:
                    raise Withdrawn
                free_at = self._limiter.next_free_at(now)
                if verdict is Verdict.HOLD or free_at is None:
                    await asyncio.sleep(0.002)
                elif free_at <= now:
                    return self._limiter.take(now)
                else:
                    await self._approach(free_at - now)

    async def _approach(self, distance_ns: int) -> None:
        """Sleeps towards a moment; close to it only lets others have a turn."""
        if distance_ns <= self._spin_ns:
            await asyncio.sleep(0)
        else:
            await asyncio.sleep(min((distance_ns - self._spin_ns) / 1e9, _LONGEST_SLEEP_SECONDS))

"""Gives each call its permit in the millisecond in which its request is written, first come, first served."""

import asyncio
from collections.abc import Callable
from enum import Enum
from time import monotonic_ns

from services.lookup.gate.limiter import Limiter, Permit

_LONGEST_SPIN_NS = 3_000_000
_SPIN_SHARE = 0.03
"""Timers of an event loop are late by a millisecond or two, and this adds up: a slot's window begins with its write.
Therefore the last part of a wait spins through the event loop, for at most this share of the time: at 10 calls/s the
last 3 of 100 ms."""
_LONGEST_SLEEP_SECONDS = 0.05


class Admission(Enum):
    """Whether a call may be written now: yes (GO), later (HOLD), or never (DROP)."""

    GO = "go"
    HOLD = "hold"
    DROP = "drop"


class Withdrawn(Exception):
    """The call is not made after all, or not on this connection. Nothing was written."""


class Pacer:
    """The limiter on the real clock. It gives one permit after the other, first come, first served.

    A call that waits longer than `patience_seconds` gets none: the server may have closed its connection by then.
    """

    def __init__(self, limiter: Limiter, *, patience_seconds: float) -> None:
        self._limiter = limiter
        self._patience_ns = round(patience_seconds * 1e9)
        self._spin_ns = min(_LONGEST_SPIN_NS, int(_SPIN_SHARE * limiter.window_ns / limiter.rate))
        self._turn = asyncio.Lock()

    async def permit(self, admit: Callable[[], Admission]) -> Permit:
        """Waits until a request may be written. The caller writes it at once and reports that to the limiter.

        `admit` is asked again right before the permit is given.

        Raises:
            Withdrawn: `admit` returned DROP, or the call waited so long that its connection may have ended.
        """
        asked_at = monotonic_ns()
        async with self._turn:
            while True:
                admission = admit()
                now = monotonic_ns()
                if admission is Admission.DROP or now - asked_at > self._patience_ns:
                    raise Withdrawn
                free_at = self._limiter.next_free_at(now)
                if admission is Admission.HOLD or free_at is None:
                    await asyncio.sleep(0.002)
                elif free_at <= now:
                    return self._limiter.take(now)
                else:
                    await self._approach(free_at - now)

    async def _approach(self, distance_ns: int) -> None:
        """Sleeps for a part of the distance; close to the moment it only yields to other tasks."""
        if distance_ns <= self._spin_ns:
            await asyncio.sleep(0)
        else:
            await asyncio.sleep(min((distance_ns - self._spin_ns) / 1e9, _LONGEST_SLEEP_SECONDS))

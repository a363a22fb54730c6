"""Owns the gate's two times: a steady one that decides when something is due, and the wall's for what is written."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from schemas.values import EARLIEST, LATEST

_BOOT: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Only Linux has CLOCK_BOOTTIME; on macOS CLOCK_MONOTONIC goes on during sleep."""


def boot_time() -> float:
    """Seconds since boot, those in which the machine or this process slept included."""
    return time.clock_gettime(_BOOT)


class Clock:
    """Steady time is the wall's at the start of the process, and goes on evenly from there.

    An operator or NTP may step the wall clock. Were a backoff measured on it, a step back by an hour would make it last
    an hour longer; were steady time written down, records would be of another time than Kafka says.
    """

    def __init__(self, *, wall: Callable[[], float] = time.time, steady: Callable[[], float] = boot_time) -> None:
        self._wall = wall
        self._steady = steady
        self._began_at = _bounded(wall())
        self._origin = steady()

    def now(self) -> datetime:
        """Steady time."""
        return self._began_at + timedelta(seconds=self._steady() - self._origin)

    def to_wall(self, steady: datetime) -> datetime:
        """What a clock on the wall shows, as it goes now, at that moment."""
        return min(LATEST, max(EARLIEST, steady - self._ahead()))

    def to_steady(self, wall: datetime) -> datetime:
        """When it will be what a clock on the wall, as it goes now, shows as that moment."""
        return wall + self._ahead()

    def _ahead(self) -> timedelta:
        return self.now() - _bounded(self._wall())


def _bounded(seconds: float) -> datetime:
    return min(LATEST, max(EARLIEST, EARLIEST + timedelta(seconds=max(0.0, min(seconds, 1e10)))))

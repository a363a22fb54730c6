"""Owns the gate's two times: steady time decides when something is due, the wall clock's time is written to records."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from schemas.values import EARLIEST, LATEST

_BOOT: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Only Linux has CLOCK_BOOTTIME. On macOS, CLOCK_MONOTONIC also counts the time asleep."""


def boot_time() -> float:
    """Seconds since boot, including the time in which the machine or this process slept."""
    return time.clock_gettime(_BOOT)


class Clock:
    """Steady time equals the wall clock's time when the process starts, and advances evenly from there.

    An operator or NTP may step the wall clock. A backoff that is measured on the wall clock would last an hour longer
    after a step back by an hour. Records that hold steady time would disagree with Kafka's timestamps.
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
        """Converts a steady time into the wall clock's, by their present difference."""
        return min(LATEST, max(EARLIEST, steady - self._ahead()))

    def to_steady(self, wall: datetime) -> datetime:
        """Converts a wall clock's time into steady time, by their present difference."""
        return wall + self._ahead()

    def _ahead(self) -> timedelta:
        return self.now() - _bounded(self._wall())


def _bounded(seconds: float) -> datetime:
    return min(LATEST, max(EARLIEST, EARLIEST + timedelta(seconds=max(0.0, min(seconds, 1e10)))))

"""Decides when a call may be written: never more than `rate` in any one sliding window. Pure; nanoseconds in, out."""

import heapq
from collections import deque
from dataclasses import dataclass

MARGIN_NS = 7_000_000
"""Kept between a slot's window and its next use: network and scheduling may add as much between write and arrival."""
MINUTE_NS = 60_000_000_000


class TooEarly(Exception):
    """A permit was taken before `next_free_at`: a bug of the caller, not a state to wait out."""


@dataclass(slots=True, eq=False)
class Permit:
    """The right to write one request. It holds its slot until the request was written (strict: answered)."""

    released: bool = False


class Limiter:
    """`rate` slots. One is free again a window and a margin after its request was written.

    In strict mode it is free a window after the *response*, for a provider that counts calls in progress. A narrowed
    limiter uses fewer slots and wins one back per window. Writes are spread: at least window / (2 x slots) apart.
    Times are of one monotonic clock and never go back.
    """

    def __init__(self, *, rate: int, window_ns: int, strict: bool = False) -> None:
        if rate < 1 or window_ns < 1:
            raise ValueError(f"a limit needs at least one call and one nanosecond, got {rate} per {window_ns} ns")
        self.rate = rate
        self.window_ns = window_ns
        self.strict = strict
        self._width = rate
        self._width_changed_at = 0
        self._throttled_at: int | None = None
        self._held = 0
        self._window_ends: list[int] = []
        self._last_write_at: int | None = None
        self._closed_until: int | None = None
        self._writes: deque[int] = deque()

    def next_free_at(self, now: int) -> int | None:
        """When a permit may be taken, `now` or later; None: not before a permit that is out comes back."""
        self._advance(now)
        excess = self._held + len(self._window_ends) - self._width + 1
        if excess > len(self._window_ends):
            return None
        at = now
        if excess > 0:
            at = max(at, heapq.nsmallest(excess, self._window_ends)[-1] + MARGIN_NS)
        if self._last_write_at is not None:
            at = max(at, self._last_write_at + self._spacing_ns())
        if self._closed_until is not None:
            at = max(at, self._closed_until)
        return at

    def take(self, now: int) -> Permit:
        """A permit, to be used at once and then given to `written`.

        Raises:
            TooEarly: `now` is before `next_free_at(now)`.
        """
        free_at = self.next_free_at(now)
        if free_at is None or free_at > now:
            raise TooEarly
        self._held += 1
        self._last_write_at = now
        self._writes.append(now)
        return Permit()

    def written(self, permit: Permit, now: int) -> None:
        """The request of `permit` is on the wire (or its write has failed: that counts all the same)."""
        self._last_write_at = max(self._last_write_at or now, now)
        if not self.strict:
            self._release(permit, now)

    def finished(self, permit: Permit, now: int) -> None:
        """The call of `permit` is over: answered, failed or given up."""
        self._release(permit, now)

    def throttled(self, now: int, *, closed_for_ns: int = 0) -> None:
        """The provider asked for less: half the slots, at most once a window; none at all for `closed_for_ns`."""
        self._advance(now)
        if self._throttled_at is None or now - self._throttled_at >= self.window_ns:
            self._width = max(1, self._width // 2)
            self._width_changed_at = self._throttled_at = now
        if closed_for_ns:
            self._closed_until = max(self._closed_until or 0, now + closed_for_ns)

    def is_narrowed(self, now: int) -> bool:
        self._advance(now)
        return self._width < self.rate or self.closed_until(now) is not None

    def closed_until(self, now: int) -> int | None:
        """Until when the provider asked for silence, if it still lasts."""
        return self._closed_until if self._closed_until is not None and self._closed_until > now else None

    @property
    def calls_per_second(self) -> float:
        """The present pace: the calls per second of a queue that is never empty."""
        return self._width * 1e9 / (self.window_ns + MARGIN_NS)

    def writes_since(self, since: int) -> int:
        """How many permits were taken after `since`; looks back one minute or one window, whichever is longer."""
        count = 0
        for at in reversed(self._writes):
            if at <= since:
                break
            count += 1
        return count

    def _spacing_ns(self) -> int:
        return self.window_ns // (2 * self._width)

    def _release(self, permit: Permit, now: int) -> None:
        if permit.released:
            return
        permit.released = True
        self._held -= 1
        heapq.heappush(self._window_ends, now + self.window_ns)

    def _advance(self, now: int) -> None:
        while self._window_ends and self._window_ends[0] + MARGIN_NS <= now:
            heapq.heappop(self._window_ends)
        oldest_kept = now - max(MINUTE_NS, self.window_ns)
        while self._writes and self._writes[0] <= oldest_kept:
            self._writes.popleft()
        if self._width < self.rate:
            steps = (now - self._width_changed_at) // self.window_ns
            self._width = min(self.rate, self._width + steps)
            self._width_changed_at += steps * self.window_ns

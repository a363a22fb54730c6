"""Decides which calls a sliding second has room for; the arrival times come from the caller."""

from collections import deque

NANOSECONDS = 1_000_000_000


class SlidingLimit:
    """Admits at most `limit` calls in any window, wherever the window begins. 0: as many as come."""

    def __init__(self, limit: int, *, window_seconds: float = 1.0) -> None:
        self._limit = limit
        self._window_ns = round(window_seconds * NANOSECONDS)
        self._admitted: deque[int] = deque(maxlen=limit or 1)

    def admit(self, t_ns: int) -> bool:
        """Whether the call that arrived at `t_ns` may be served. A refused one takes no room."""
        if self._limit == 0:
            return True
        if len(self._admitted) == self._limit and t_ns - self._admitted[0] < self._window_ns:
            return False
        self._admitted.append(t_ns)
        return True

    def wait_seconds(self, t_ns: int) -> int:
        """Whole seconds after `t_ns` until there is room again, at least 1, as `Retry-After` wants them."""
        if not self._admitted:
            return 1
        return max(1, -(-(self._admitted[0] + self._window_ns - t_ns) // NANOSECONDS))

"""Decides whose rows are published next and how many: a window per upload, turns, a slow pace when others lag."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

WINDOW_ROWS = 50_000
"""Most rows of one upload that are published and not yet settled."""
TOTAL_ROWS = 500_000
"""Most such rows of all active uploads together."""
TRANSIT_ROWS = 16_000
"""Most rows of all active uploads together that the join has not yet stored: about a second of its work. What another
upload publishes queues behind them, so this and not the window decides how soon a small upload is through."""
TURN_ROWS = 2_000
"""Rows of one turn: enough for full batches, few enough that the next upload is served soon after."""
LAG_LIMIT_ROWS = 20_000
SLOW_ROWS_PER_SECOND = 500
_SLOW_BURST_ROWS = 100


def window_rows(*, active: int, share: float = 1.0, calls_left: int | None = None) -> int:
    """Most unsettled rows that one upload may have.

    `active` uploads share this feeder's `share` of the total: its part of the partitions. With a cap on calls, never
    more rows than calls are left: a row costs one call at most, and known ones settle for none and make room.
    """
    window = min(WINDOW_ROWS, max(1, int(TOTAL_ROWS * share) // max(1, active)))
    return window if calls_left is None else max(0, min(window, calls_left))


def transit_rows(*, active: int, share: float = 1.0) -> int:
    """Most rows of one upload that are published and not yet stored; never so few that its turns become slivers."""
    return max(TURN_ROWS, int(TRANSIT_ROWS * share) // max(1, active))


@dataclass(slots=True)
class Pace:
    """How many rows may go out now: all that the windows allow, or 500 a second while the lookup worker is behind."""

    lag_rows: int = 0
    _credit: float = float(_SLOW_BURST_ROWS)
    _as_of: float | None = None

    def allowance(self, now: float) -> int:
        """Rows that may be published at `now` (seconds on any steady clock)."""
        elapsed = 0.0 if self._as_of is None else max(0.0, now - self._as_of)
        self._as_of = now
        self._credit = min(float(_SLOW_BURST_ROWS), self._credit + elapsed * SLOW_ROWS_PER_SECOND)
        return TURN_ROWS if self.lag_rows <= LAG_LIMIT_ROWS else int(self._credit)

    def spend(self, rows: int) -> None:
        """Counts rows that were published; only those of a slow time are missed later."""
        if self.lag_rows > LAG_LIMIT_ROWS:
            self._credit -= rows

    @property
    def is_slow(self) -> bool:
        return self.lag_rows > LAG_LIMIT_ROWS


@dataclass(slots=True)
class Rotation:
    """Whose turn it is: of those that may publish, the one that has waited longest."""

    _order: deque[str] = field(default_factory=deque)

    def next_turn(self, room_rows: Mapping[str, int], *, allowance: int) -> tuple[str, int] | None:
        """The upload that is served now, and how many rows; None when no upload has room or nothing may go out.

        `room_rows` holds every active upload. A slow allowance is split, so that each has its turn soon.
        """
        self._order = deque(key for key in self._order if key in room_rows)
        self._order.extend(key for key in room_rows if key not in set(self._order))
        ready = sum(1 for room in room_rows.values() if room > 0)
        if not ready or allowance < 1:
            return None
        for _ in range(len(self._order)):
            key = self._order[0]
            self._order.rotate(-1)
            if room_rows[key] > 0:
                fair = allowance if allowance >= TURN_ROWS else max(1, allowance // ready)
                return key, min(room_rows[key], fair, TURN_ROWS)
        return None

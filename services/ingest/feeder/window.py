"""Decides whose rows are published next and how many: a window per upload, turns, a slow pace when others lag."""

from collections import Counter, deque
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


def shares(owners: Mapping[str, str]) -> dict[str, int]:
    """Into how many parts a whole falls for each owner's uploads: equal parts for owners, then for the owner's uploads.

    `owners` says whose each upload is.
    """
    uploads = Counter(owners.values())
    return {owner: len(uploads) * count for owner, count in uploads.items()}


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
    """Whose turn it is: of the owners with an upload that may publish, the one that has waited longest, and of that
    owner's uploads again the one that has waited longest."""

    _owners: deque[str] = field(default_factory=deque)
    _uploads: dict[str, deque[str]] = field(default_factory=dict)

    def next_turn(
        self, allowed_rows: Mapping[str, int], *, owners: Mapping[str, str], allowance: int
    ) -> tuple[str, int] | None:
        """The upload that is served now, and how many rows; None when no upload has room or nothing may go out.

        `room_rows` holds every active upload, `owners` whose it is. A slow allowance is split, so that each owner has
        its turn soon.
        """
        self._take_in(allowed_rows, owners)
        ready = {upload_id: owners[upload_id] for upload_id, allowed in allowed_rows.items() if allowed > 0}
        if not ready or allowance < 1:
            return None
        waiting = set(ready.values())
        owner = next(owner for owner in self._owners if owner in waiting)
        self._owners.remove(owner)
        self._owners.append(owner)
        uploads = self._uploads[owner]
        upload_id = next(upload_id for upload_id in uploads if allowed_rows[upload_id] > 0)
        uploads.remove(upload_id)
        uploads.append(upload_id)
        fair = allowance if allowance >= TURN_ROWS else max(1, allowance // shares(ready)[owner])
        return upload_id, min(allowed_rows[upload_id], fair, TURN_ROWS)

    def _take_in(self, allowed_rows: Mapping[str, int], owners: Mapping[str, str]) -> None:
        """Forgets uploads that are no longer active and puts new ones at the end."""
        known = {upload_id for uploads in self._uploads.values() for upload_id in uploads}
        if known != allowed_rows.keys():
            for owner, uploads in self._uploads.items():
                self._uploads[owner] = deque(upload_id for upload_id in uploads if upload_id in allowed_rows)
            for upload_id in allowed_rows:
                if upload_id not in known:
                    self._uploads.setdefault(owners[upload_id], deque()).append(upload_id)
            self._uploads = {owner: uploads for owner, uploads in self._uploads.items() if uploads}
            self._owners = deque(owner for owner in self._owners if owner in self._uploads)
            waiting = set(self._owners)
            self._owners.extend(owner for owner in self._uploads if owner not in waiting)

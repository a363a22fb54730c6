"""Decides whose rows are published next and how many: windows, turns, and a low rate while the worker lags."""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

WINDOW_ROWS = 50_000
"""Most rows of one upload that are published and have no outcome yet."""
TOTAL_ROWS = 500_000
"""Most published rows without an outcome of all active uploads together."""
TRANSIT_ROWS = 16_000
"""Most rows of all active uploads together that the join has not yet stored: about a second of its work. The rows of
other uploads queue behind them, so this limit decides how soon a small upload is done, and not the window."""
TURN_ROWS = 2_000
"""Most rows of one turn: enough for full batches, and few enough that the next upload waits only briefly."""
LAG_LIMIT_ROWS = 20_000
SLOW_ROWS_PER_SECOND = 500
_SLOW_BURST_ROWS = 100


def window_rows(*, active: int, share: float = 1.0, calls_left: int | None = None) -> int:
    """Most rows without an outcome that one upload may have.

    `active` uploads share this feeder's `share` of the total: its part of the partitions. With a cap on calls,
    never more rows than calls are left: a row costs at most one call, a row with a known phone none.
    """
    window = min(WINDOW_ROWS, max(1, int(TOTAL_ROWS * share) // max(1, active)))
    return window if calls_left is None else max(0, min(window, calls_left))


def transit_rows(*, active: int, share: float = 1.0) -> int:
    """Most rows of one upload that are published and not yet stored. At least one turn, to keep batches large."""
    return max(TURN_ROWS, int(TRANSIT_ROWS * share) // max(1, active))


def shares(owners: Mapping[str, str]) -> dict[str, int]:
    """The divisor of a total for each upload of an owner: owners get equal parts, then the uploads of one owner.

    `owners`: upload id to owner.
    """
    uploads = Counter(owners.values())
    return {owner: len(uploads) * count for owner, count in uploads.items()}


@dataclass(slots=True)
class Pace:
    """Limits the rate of rows: none while the lookup worker keeps up, 500 rows a second while it lags."""

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
        """Count published rows. They use up credit only while the worker lags."""
        if self.lag_rows > LAG_LIMIT_ROWS:
            self._credit -= rows

    @property
    def is_slow(self) -> bool:
        return self.lag_rows > LAG_LIMIT_ROWS


@dataclass(slots=True)
class Rotation:
    """Decides whose turn it is: the owner that has waited longest, of those with an upload that may publish, and of the
    uploads of that owner the one that has waited longest."""

    _owners: deque[str] = field(default_factory=deque)
    _uploads: dict[str, deque[str]] = field(default_factory=dict)

    def next_turn(
        self, allowed_rows: Mapping[str, int], *, owners: Mapping[str, str], allowance: int
    ) -> tuple[str, int] | None:
        """The upload of the next turn and its number of rows. None if no upload may publish.

        `allowed_rows` and `owners` hold every active upload. A small allowance is split, so that each owner has its
        turn soon.
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
        """Remove uploads that are no longer active and append new ones."""
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

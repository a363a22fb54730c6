"""Decides when a consumer is alive but stuck, as happens after some broker restarts and rebalances."""

from collections.abc import Mapping
from dataclasses import dataclass, field

STUCK_SECONDS = 60.0


@dataclass(slots=True)
class PartitionWatchdog:
    """Remembers since when the position of each partition with unread records has not moved."""

    _since: dict[object, tuple[int, float]] = field(default_factory=dict)

    def is_stuck(self, positions: Mapping[object, int], ends: Mapping[object, int], *, now: float) -> bool:
        """Whether a partition has had unread records for a minute and its position did not move."""
        behind = {tp: position for tp, position in positions.items() if position < ends.get(tp, position)}
        self._since = {
            tp: self._since[tp] if tp in self._since and self._since[tp][0] == position else (position, now)
            for tp, position in behind.items()
        }
        return any(now - since >= STUCK_SECONDS for _, since in self._since.values())

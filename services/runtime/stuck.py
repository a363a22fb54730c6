"""Decides when a process is stuck: there was work for a while, and none of it got done. Pure.

The worker and the gate judge by it. The feeder and the join have rules of their own: the feeder judges each partition,
since one may stand still while others move; the join counts from the first look at Kafka that found something to read,
and any batch ends the count.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field


class Stuck(Exception):
    """The process is alive but does not do its work. Only a new start helps."""


@dataclass(slots=True)
class StuckDetector:
    """Remembers since when there has been work without progress."""

    patience_seconds: float
    _progress: Hashable = None
    _since: float | None = field(default=None)

    def is_stuck(self, *, now: float, work_left: bool, progress: Hashable) -> bool:
        """Whether there has been work for `patience_seconds` without progress. To be called regularly.

        `now`: monotonic seconds. `progress`: any value that changes when something gets done.
        """
        if not work_left or progress != self._progress or self._since is None:
            self._progress = progress
            self._since = now
            return False
        return now - self._since >= self.patience_seconds

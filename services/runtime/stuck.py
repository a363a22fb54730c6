"""Decides when a process is stuck: there is work, and for too long none of it gets done. Pure."""

from collections.abc import Hashable
from dataclasses import dataclass, field


class Stuck(Exception):
    """The process is alive, but does not do its work. Only a new start helps."""


@dataclass(slots=True)
class StuckDetector:
    """Watches one kind of work."""

    patience_seconds: float
    _progress: Hashable = None
    _since: float | None = field(default=None)

    def is_stuck(self, *, now: float, work_left: bool, progress: Hashable) -> bool:
        """Whether no work was done for `patience_seconds` although there was work. Call this regularly.

        `now`: monotonic seconds. `progress`: any value that changes when work gets done.
        """
        if not work_left or progress != self._progress or self._since is None:
            self._progress = progress
            self._since = now
            return False
        return now - self._since >= self.patience_seconds

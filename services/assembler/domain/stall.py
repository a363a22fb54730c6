"""Decides when the consumer is stalled: records wait, but none comes, as at times after a broker's restart; pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.assembler.domain.positions import LogPlace

PATIENCE_SECONDS = 60.0
LOOK_SECONDS = 10.0


class Stalled(Exception):
    """Records wait, but none has come for a minute: the process must be started again."""


@dataclass(slots=True)
class StallDetector:
    """Holds since when no record came although some waited. Times are of a monotonic clock, seconds."""

    since: float | None = None
    looked_at: float = 0.0

    def got_something(self) -> None:
        """Notes that records came."""
        self.since = None

    def look_is_due(self, now: float) -> bool:
        """Whether it is time to ask Kafka for the ends of the logs again."""
        if now < self.looked_at + LOOK_SECONDS:
            return False
        self.looked_at = now
        return True

    def check(self, positions: Mapping[LogPlace, int], ends: Mapping[LogPlace, int], *, now: float) -> None:
        """Compares the positions with the ends of the logs.

        Raises:
            Stalled: records have been waiting for `PATIENCE_SECONDS`.
        """
        behind = [place for place, end in ends.items() if positions.get(place, 0) < end]
        if not behind:
            self.since = None
        elif self.since is None:
            self.since = now
        elif now - self.since >= PATIENCE_SECONDS:
            topic, partition = behind[0]
            raise Stalled(f"nothing came for {PATIENCE_SECONDS:.0f} s, but {topic} {partition} has records")

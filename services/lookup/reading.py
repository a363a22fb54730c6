"""Judges how far a worker has read: whether it caught up, how far it lags, and whether it is stuck."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field

Partition = tuple[str, int]
"""A topic's name and a partition's number."""


@dataclass(slots=True)
class Reading:
    """The next offset to be processed in each assigned partition, and the end each had at assignment."""

    ends: Mapping[Partition, int]
    positions: dict[Partition, int]

    @classmethod
    def begin(
        cls,
        *,
        ends: Mapping[Partition, int],
        begins: Mapping[Partition, int],
        committed: Mapping[Partition, int],
    ) -> "Reading":
        """The state right after an assignment. What retention removed counts as processed."""
        return cls(ends, {partition: max(begins[partition], committed.get(partition, 0)) for partition in ends})

    def processed(self, partition: Partition, offset: int) -> None:
        """Everything up to and including `offset` is done. Partitions that are not assigned are ignored."""
        if self.positions.get(partition, offset) < offset + 1:
            self.positions[partition] = offset + 1

    def passed_ends(self, topic: str) -> bool:
        """Whether everything the topic held at assignment is processed."""
        return all(self.positions[p] >= end for p, end in self.ends.items() if p[0] == topic)

    def lag(self, ends: Mapping[Partition, int | None], topic: str | None = None) -> int:
        """Records between what is processed and `ends`, over one topic or all; unknown ends count as reached."""
        return sum(
            max(0, (ends.get(partition) or 0) - position)
            for partition, position in self.positions.items()
            if topic is None or partition[0] == topic
        )

    def of_topic(self, topic: str) -> Iterable[Partition]:
        return [partition for partition in self.positions if partition[0] == topic]


@dataclass(slots=True)
class Watchdog:
    """Says when there has been work for `patience_seconds` without any of it getting done."""

    patience_seconds: float
    _progress: Hashable = None
    _since: float | None = field(default=None)

    def is_stuck(self, *, now: float, work_left: bool, progress: Hashable) -> bool:
        """Call regularly. `now`: monotonic seconds; `progress`: any value that changes when something gets done."""
        if not work_left or progress != self._progress or self._since is None:
            self._progress = progress
            self._since = now
            return False
        return now - self._since >= self.patience_seconds

"""Judges how far a worker has read: whether it caught up, and how far it lags. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

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
        processed: Mapping[Partition, int],
    ) -> "Reading":
        """The state after an assignment. What retention removed counts as processed.

        `committed` and `processed` are next offsets, and may be older than each other: the first batches may be
        done, and not yet committed, before the ends are known.
        """
        return cls(ends, {p: max(begins[p], committed.get(p, 0), processed.get(p, 0)) for p in ends})

    def advance(self, partition: Partition, position: int) -> None:
        """Everything before the offset `position` is done. Partitions that are not assigned are ignored."""
        if partition in self.positions:
            self.positions[partition] = max(position, self.positions[partition])

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

"""Decides how far a worker has read: whether it has caught up, and how far it lags behind. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

Partition = tuple[str, int]
"""A topic's name and a partition's number."""


@dataclass(slots=True)
class ReadPositions:
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
    ) -> "ReadPositions":
        """The positions after an assignment. Records that retention has removed count as processed.

        `committed` and `processed` are next offsets. Either may be ahead of the other: the first batches may be
        processed, but not committed, before the ends are known.
        """
        return cls(ends, {p: max(begins[p], committed.get(p, 0), processed.get(p, 0)) for p in ends})

    def advance(self, partition: Partition, position: int) -> None:
        """All records before the offset `position` are processed. Ignores partitions that are not assigned."""
        if partition in self.positions:
            self.positions[partition] = max(position, self.positions[partition])

    def passed_ends(self, topic: str) -> bool:
        """Whether all records are processed that the topic held at assignment."""
        return all(self.positions[p] >= end for p, end in self.ends.items() if p[0] == topic)

    def lag(self, ends: Mapping[Partition, int | None], topic: str | None = None) -> int:
        """The number of records between positions and `ends`, of one topic or of all. Unknown ends count as reached."""
        return sum(
            max(0, (ends.get(partition) or 0) - position)
            for partition, position in self.positions.items()
            if topic is None or partition[0] == topic
        )

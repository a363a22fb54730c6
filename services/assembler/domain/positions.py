"""Decides the position from which the join reads each log, whether it can, and which topics it reads first; pure.

It reads events first, then results, then rows and plan questions. So each row is judged once, by everything that was
known: an upload that was cancelled after its last answer is not taken for one that was cancelled before. And each
question is answered by all results that existed when it was asked.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Offsets(NamedTuple):
    """The next unread offset of each topic, for one partition number."""

    upload_rows: int = 0
    rejected_rows: int = 0
    lookup_results: int = 0
    upload_events: int = 0
    plan_questions: int = 0


class LookupCounts(NamedTuple):
    """The numbers that the results of one batch add to the totals of a partition."""

    answered: int = 0
    failed: int = 0
    retries: int = 0


LogPlace = tuple[str, int]
"""A topic, by its name in `Offsets`, and a partition number."""
ACTED_ON = ("upload_rows", "rejected_rows", "lookup_results", "upload_events")
"""Topics that must be joined before a decision is taken on the whole of SQL. Plan questions change nothing there."""
LEADING_PARTITION = 0
"""The partition whose owner does the work of one join for all uploads: it sweeps, and drops old uploads."""


class LogLost(Exception):
    """Records that the database has not read yet are gone from the log; the text says what to do."""


def first_reads(
    fences: Mapping[int, Offsets], begins: Mapping[LogPlace, int], ends: Mapping[LogPlace, int]
) -> dict[LogPlace, int]:
    """The offset to read next in each log. A log that was never read is read from its first record.

    Raises:
        LogLost: records between fence and log's start are gone, or the fence lies beyond the log's end.
    """
    reads: dict[LogPlace, int] = {}
    for partition, offsets in fences.items():
        for topic, offset in offsets._asdict().items():
            place = (topic, partition)
            if offset > ends[place]:
                raise LogLost(_explain(place, f"ends at {ends[place]}, before {offset}, which was read already"))
            if 0 < offset < begins[place] and topic != "plan_questions":
                raise LogLost(_explain(place, f"begins at {begins[place]}, after {offset}, which is yet to be read"))
            reads[place] = max(offset, begins[place])
    return reads


def _explain(place: LogPlace, what: str) -> str:
    topic, partition = place[0].replace("_", "-"), place[1]
    return (
        f"Partition {partition} of {topic} {what}: the topic was recreated or its records expired. Give SCRUB_DATABASE"
        " a new database to have it rebuilt from what Kafka still holds."
    )


class Goals(NamedTuple):
    """The end of each log when the partitions were taken over."""

    ends: Mapping[LogPlace, int]

    def reached(self, topic: str, positions: Mapping[LogPlace, int]) -> bool:
        """Whether a topic has been read up to these ends on all partitions."""
        return all(positions.get(place, 0) >= end for place, end in self.ends.items() if place[0] == topic)


def held_back(goals: Goals, positions: Mapping[LogPlace, int]) -> frozenset[str]:
    """The topics that must wait until others are read to their ends."""
    if not goals.reached("upload_events", positions):
        return frozenset({"upload_rows", "rejected_rows", "lookup_results", "plan_questions"})
    if not goals.reached("lookup_results", positions):
        return frozenset({"upload_rows", "rejected_rows", "plan_questions"})
    return frozenset()

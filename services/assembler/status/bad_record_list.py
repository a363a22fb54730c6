"""Owns the list of bad records: newest first, bounded, without records that were published again; pure."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple, get_args

from schemas.parts import Role
from schemas.rows import BadReason, BadRecord

MOST_LISTED: Final = 5_000
"""Notes of bad records held in memory, over all partitions; older notes are only counted."""


class RecordPosition(NamedTuple):
    """The position of a record. `topic`: the name in the registry, or in the cluster if the registry lacks it."""

    topic: str
    partition: int
    offset: int


class NotePosition(NamedTuple):
    """The position on `bad-records` of the note of a bad record."""

    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class ListedBadRecord:
    """A bad record as it is listed. Its key and its value stay in Kafka, as they may hold phones."""

    position: RecordPosition
    role: Role | None
    reason: BadReason
    error: str
    at: datetime
    bytes: int | None
    note: NotePosition

    @property
    def order(self) -> tuple[datetime, NotePosition]:
        return self.at, self.note


@dataclass(frozen=True, slots=True)
class BadRecordFilter:
    """Which bad records to select; None: any value."""

    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    role: Role | None = None
    reason: BadReason | None = None

    def covers(self, one: ListedBadRecord) -> bool:
        return (
            self.topic in (None, one.position.topic)
            and self.partition in (None, one.position.partition)
            and self.offset in (None, one.position.offset)
            and self.role in (None, one.role)
            and self.reason in (None, one.reason)
        )


class BadRecordList:
    """Takes notes in any order. Each record is listed once per role, with its newest note."""

    def __init__(self, most: int = MOST_LISTED) -> None:
        self._most = most
        self._held: dict[tuple[RecordPosition, Role | None], ListedBadRecord] = {}
        self._tried_again: dict[RecordPosition, None] = {}
        self._sorted: list[ListedBadRecord] | None = None
        self.dropped = 0
        """Notes that were dropped to make room for newer ones."""

    def take(self, bad: BadRecord, *, topic: str, note: NotePosition) -> None:
        """Takes a note. A note with `retried_at` removes its record from the list.

        A record never changes its position, so a later note of the same position does not list it again.
        """
        position = RecordPosition(topic, bad.partition, bad.offset)
        if bad.retried_at is not None:
            self._tried_again[position] = None
            if len(self._tried_again) > self._most:
                del self._tried_again[next(iter(self._tried_again))]
            for role in (*get_args(Role), None):
                self._held.pop((position, role), None)
        elif position not in self._tried_again:
            self._held.pop((position, bad.role), None)
            self._held[position, bad.role] = ListedBadRecord(
                position, bad.role, bad.reason, bad.error, bad.at, bad.bytes_, note
            )
            if len(self._held) > self._most:
                del self._held[next(iter(self._held))]
                self.dropped += 1
        self._sorted = None

    def newest_first(
        self, wanted: BadRecordFilter, *, after: tuple[datetime, NotePosition] | None = None, limit: int | None = None
    ) -> list[ListedBadRecord]:
        """The records that the filter covers. `after`: the order of the last one of the page before."""
        if self._sorted is None:
            self._sorted = sorted(self._held.values(), key=lambda one: one.order, reverse=True)
        found = [one for one in self._sorted if wanted.covers(one) and (after is None or one.order < after)]
        return found[:limit]

    def counts(self) -> Counter[tuple[str, str]]:
        """Number of listed records, by role and reason."""
        return Counter((one.role or "unknown", one.reason) for one in self._held.values())

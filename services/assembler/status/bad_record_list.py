"""Owns the list of records that were put aside: newest first, bounded, without those that were tried again; pure."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple, get_args

from schemas.parts import Role
from schemas.rows import BadReason, BadRecord

MOST_LISTED: Final = 5_000
"""Notes of records put aside that are held, over all partitions; older ones are counted only."""


class Place(NamedTuple):
    """Where a record lies. `topic` is the registry's name, or the cluster's if the registry has no such topic."""

    topic: str
    partition: int
    offset: int


class Note(NamedTuple):
    """Where the note of a record put aside lies on `bad-records`."""

    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class PutAside:
    """A record that was put aside; its key and its value stay in Kafka, as they may hold phones."""

    place: Place
    role: Role | None
    reason: BadReason
    error: str
    at: datetime
    bytes: int | None
    note: Note

    @property
    def order(self) -> tuple[datetime, Note]:
        return self.at, self.note


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records put aside; None: whatever it is."""

    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    role: Role | None = None
    reason: BadReason | None = None

    def covers(self, one: PutAside) -> bool:
        return (
            self.topic in (None, one.place.topic)
            and self.partition in (None, one.place.partition)
            and self.offset in (None, one.place.offset)
            and self.role in (None, one.role)
            and self.reason in (None, one.reason)
        )


class PutAsideList:
    """Notes in whatever order they are read. Each record stands once per role, with its newest note."""

    def __init__(self, most: int = MOST_LISTED) -> None:
        self._most = most
        self._held: dict[tuple[Place, Role | None], PutAside] = {}
        self._tried_again: dict[Place, None] = {}
        self._sorted: list[PutAside] | None = None
        self.dropped = 0
        """Notes that had to make room for newer ones."""

    def take(self, bad: BadRecord, *, topic: str, note: Note) -> None:
        """A note that was read. One that says that its record was tried again takes the record off the list.

        A record lies where it lies for good, so a note of the same place that is read later changes nothing.
        """
        place = Place(topic, bad.partition, bad.offset)
        if bad.retried_at is not None:
            self._tried_again[place] = None
            if len(self._tried_again) > self._most:
                del self._tried_again[next(iter(self._tried_again))]
            for role in (*get_args(Role), None):
                self._held.pop((place, role), None)
        elif place not in self._tried_again:
            self._held.pop((place, bad.role), None)
            self._held[place, bad.role] = PutAside(place, bad.role, bad.reason, bad.error, bad.at, bad.bytes_, note)
            if len(self._held) > self._most:
                del self._held[next(iter(self._held))]
                self.dropped += 1
        self._sorted = None

    def newest_first(
        self, wanted: Wanted, *, after: tuple[datetime, Note] | None = None, limit: int | None = None
    ) -> list[PutAside]:
        """Those that the filter covers. `after`: the order of the last one of the page before."""
        if self._sorted is None:
            self._sorted = sorted(self._held.values(), key=lambda one: one.order, reverse=True)
        found = [one for one in self._sorted if wanted.covers(one) and (after is None or one.order < after)]
        return found[:limit]

    def counts(self) -> Counter[tuple[str, str]]:
        """How many are listed, by role and reason."""
        return Counter((one.role or "unknown", one.reason) for one in self._held.values())

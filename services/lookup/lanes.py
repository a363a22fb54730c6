"""The parts of the queue: what an upload asks (`Ask`), a phone somebody waits for (`Entry`), an upload's `Lane`."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum

from schemas.answers import Want
from schemas.lookups import LookupRequest, request_key


class Stage(IntEnum):
    """Where a phone is.

    WAITING  may be called when one of its lanes has its turn
    BACKOFF  not before its time has come
    CALLED   a call is being made, or its result is on the way to Kafka
    SETTLED  nobody waits for it any more
    """

    WAITING = 0
    BACKOFF = 1
    CALLED = 2
    SETTLED = 3


@dataclass(slots=True, eq=False)
class Ask:
    """What one round of an upload wants of its phones. Shared by all of them, so that a million cost little."""

    lane: "Lane"
    round: int
    priority: int
    wanted_at: datetime
    accept_since: datetime
    alone: "tuple[Ask]" = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.alone = (self,)

    @property
    def upload_id(self) -> str:
        return self.lane.upload_id

    @property
    def want(self) -> Want:
        return Want(upload_id=self.lane.upload_id, round=self.round, accept_since=self.accept_since)

    def key(self, phone: str) -> str:
        return request_key(phone, self.lane.upload_id, self.round)

    def request(self, phone: str) -> LookupRequest:
        """The request as it stood on the topic."""
        return LookupRequest(
            phone=phone,
            upload_id=self.lane.upload_id,
            round=self.round,
            owner=self.lane.owner,
            priority=self.priority,
            wanted_at=self.wanted_at,
            accept_since=self.accept_since,
        )


class Entry:
    """A phone that somebody waits for. `offset` is that of its first request, `due_at` the end of its last backoff."""

    __slots__ = ("asks", "due_at", "offset", "phone", "stage")

    def __init__(self, phone: str, asks: tuple[Ask, ...], offset: int) -> None:
        self.phone = phone
        self.asks = asks
        self.offset = offset
        self.stage = Stage.WAITING
        self.due_at = 0.0

    def lanes(self) -> "set[Lane]":
        return {ask.lane for ask in self.asks}

    def has(self, lane: "Lane") -> bool:
        return any(ask.lane is lane for ask in self.asks)


class Lane:
    """An upload's phones in order of arrival; those whose backoff is over go first.

    `line` and `overdue` may hold entries that were served elsewhere: `Entry.stage` says what is true. `count` is
    exact: the lane's phones, indexed by stage (a list, for an enum's hash costs more than all else here).
    `last_due_at` is the latest end of a backoff that one of its phones was ever given.
    """

    __slots__ = ("asks", "count", "last_due_at", "line", "overdue", "owner", "paused", "priority", "upload_id")

    def __init__(self, upload_id: str, owner: str, *, priority: int, paused: bool) -> None:
        self.upload_id = upload_id
        self.owner = owner
        self.priority = priority
        self.paused = paused
        self.asks: dict[tuple[int, int, datetime, datetime], Ask] = {}
        self.line: deque[Entry] = deque()
        self.overdue: deque[Entry] = deque()
        self.last_due_at = 0.0
        self.count = [0, 0, 0]

    @property
    def is_callable(self) -> bool:
        return not self.paused and self.count[Stage.WAITING] > 0

    @property
    def is_empty(self) -> bool:
        return not any(self.count)

    @property
    def oldest_wanted_at(self) -> datetime | None:
        return min((ask.wanted_at for ask in self.asks.values()), default=None)

    def ask_for(self, request: LookupRequest) -> Ask:
        """The shared ask of the request's round."""
        about = (request.round, request.priority, request.wanted_at, request.accept_since)
        ask = self.asks.get(about)
        if ask is None:
            round_, priority, wanted_at, accept_since = about
            ask = self.asks[about] = Ask(self, round_, priority, wanted_at, accept_since)
        return ask

    def pop(self) -> Entry:
        """The lane's next waiting phone, taken off its line. The lane must have one (`count`)."""
        while True:
            entry = (self.overdue or self.line).popleft()
            if self._waits(entry):
                return entry

    def waiting(self) -> Iterator[Entry]:
        """The lane's waiting phones in the order in which they will be called."""
        seen: set[int] = set()
        for hints in (self.overdue, self.line):
            for entry in hints:
                if self._waits(entry) and id(entry) not in seen:
                    seen.add(id(entry))
                    yield entry

    def _waits(self, entry: Entry) -> bool:
        return entry.stage is Stage.WAITING and entry.has(self)

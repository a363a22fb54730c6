"""Owns the parts of the queue: the `Lane` of an upload, its terms (`Ask`), and a phone in the queue (`Entry`). Pure."""

from collections import deque
from collections.abc import Collection, Container, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from itertools import chain

from schemas.answers import Want
from schemas.lookups import LookupRequest, request_key


class EntryState(IntEnum):
    """What happens to a phone now.

    WAITING  may be called when one of its lanes has its turn
    BACKOFF  not before its time has come
    CALLED   a call is being made, or its result is on the way to Kafka
    DONE     no upload wants it any more
    """

    WAITING = 0
    BACKOFF = 1
    CALLED = 2
    DONE = 3


@dataclass(slots=True, eq=False)
class Ask:
    """The terms on which one round of an upload asks for its phones. All of them share it, to save memory."""

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
        """The request as it is on the topic."""
        return LookupRequest(
            phone=phone,
            upload_id=self.lane.upload_id,
            round=self.round,
            owner=self.lane.owner,
            priority=self.priority,
            wanted_at=self.wanted_at,
            accept_since=self.accept_since,
        )


_MOST_SHARED = 1_000
"""The requests of an upload usually differ only by round. Beyond this number, asks are not shared."""
_FEW_ASKS = 8
"""Up to so many asks of a phone are searched one by one. More, as when thousands wait for one phone, get an index."""


class Entry:
    """A phone in the queue. `offset` is that of its first request; `due_at` is the end of its last backoff."""

    __slots__ = ("_asks", "due_at", "offset", "phone", "state")

    def __init__(self, phone: str, asks: tuple[Ask, ...], offset: int) -> None:
        self.phone = phone
        self.offset = offset
        self.state = EntryState.WAITING
        self.due_at = 0.0
        self._asks: tuple[Ask, ...] | dict[Lane, tuple[Ask, ...]] = asks

    @property
    def asks(self) -> tuple[Ask, ...]:
        if isinstance(self._asks, tuple):
            return self._asks
        return tuple(ask for asks in self._asks.values() for ask in asks)

    @property
    def is_wanted(self) -> bool:
        return bool(self._asks)

    def of(self, lane: "Lane") -> tuple[Ask, ...]:
        """The asks of one lane."""
        if isinstance(self._asks, dict):
            return self._asks.get(lane, ())
        return tuple(ask for ask in self._asks if ask.lane is lane)

    def has(self, lane: "Lane") -> bool:
        if isinstance(self._asks, dict):
            return lane in self._asks
        return any(ask.lane is lane for ask in self._asks)

    def has_only(self, lane: "Lane") -> bool:
        if isinstance(self._asks, dict):
            return len(self._asks) == 1 and lane in self._asks
        return all(ask.lane is lane for ask in self._asks)

    def lanes(self) -> "Collection[Lane]":
        if isinstance(self._asks, dict):
            return self._asks.keys()
        return {ask.lane for ask in self._asks}

    def add(self, ask: Ask) -> None:
        if isinstance(self._asks, dict):
            self._asks[ask.lane] = (*self._asks.get(ask.lane, ()), ask)
        elif len(self._asks) < _FEW_ASKS:
            self._asks = (*self._asks, ask)
        else:
            few, self._asks = self._asks, {}
            for each in (*few, ask):
                self.add(each)

    def remove(self, asks: "Iterable[Ask]") -> "list[Lane]":
        """Takes asks out. Returns the lanes that do not want the phone any more."""
        gone = set(asks)
        left: list[Lane] = []
        for lane in {ask.lane for ask in gone if self.has(ask.lane)}:
            mine = tuple(ask for ask in self.of(lane) if ask not in gone)
            if isinstance(self._asks, dict):
                self._asks[lane] = mine
                if not mine:
                    del self._asks[lane]
            if not mine:
                left.append(lane)
        if isinstance(self._asks, tuple):
            self._asks = tuple(ask for ask in self._asks if ask not in gone)
        return left


class Lane:
    """An upload's phones in the order of their arrival. Phones whose backoff is over go first (`overdue`).

    `line` and `overdue` may hold entries that another lane has served; `Entry.state` is decisive. `count` is exact: the
    number of the lane's phones by state. It is a list because the hash of an enum is slow. `last_due_at` is the latest
    end of a backoff among all phones that the lane ever had.

    A lane gets no turn in three cases: it is `paused` by people; it is not `opened`, because the log has no opening of
    the upload (any more); it is `spent`, because the upload has reached its limit of calls.
    """

    __slots__ = (
        "asks",
        "count",
        "last_due_at",
        "line",
        "oldest_wanted_at",
        "opened",
        "overdue",
        "owner",
        "paused",
        "priority",
        "spent",
        "upload_id",
    )

    def __init__(self, upload_id: str, owner: str, *, priority: int, paused: bool, opened: bool) -> None:
        self.upload_id = upload_id
        self.owner = owner
        self.priority = priority
        self.paused = paused
        self.opened = opened
        self.spent = False
        self.asks: dict[tuple[int, int, datetime, datetime], Ask] = {}
        self.line: deque[Entry] = deque()
        self.overdue: deque[Entry] = deque()
        self.last_due_at = 0.0
        self.oldest_wanted_at: datetime | None = None
        self.count = [0, 0, 0]

    @property
    def is_callable(self) -> bool:
        return self.may_have_turns and not self.spent and self.count[EntryState.WAITING] > 0

    @property
    def may_have_turns(self) -> bool:
        return self.opened and not self.paused

    @property
    def is_empty(self) -> bool:
        return not any(self.count)

    def ask_for(self, request: LookupRequest) -> Ask:
        """The shared ask of the request's round."""
        about = (request.round, request.priority, request.wanted_at, request.accept_since)
        ask = self.asks.get(about)
        if ask is None:
            round_, priority, wanted_at, accept_since = about
            ask = Ask(self, round_, priority, wanted_at, accept_since)
            if len(self.asks) < _MOST_SHARED:
                self.asks[about] = ask
            self.oldest_wanted_at = min(self.oldest_wanted_at or wanted_at, wanted_at)
        return ask

    def pop(self) -> Entry:
        """Takes the next waiting phone off the line. The lane must have one (`count`)."""
        while True:
            entry = (self.overdue or self.line).popleft()
            if self._waits(entry):
                return entry

    def waiting(self) -> Iterator[Entry]:
        """The lane's waiting phones in the order in which they will be called."""
        self._trim()
        return self._distinct(chain(self.overdue, self.line))

    def last_waiting(self, excluded: Container[str]) -> Entry | None:
        """The last waiting phone that is not in `excluded`."""
        self._trim()
        backwards = self._distinct(chain(reversed(self.line), reversed(self.overdue)))
        return next((entry for entry in backwards if entry.phone not in excluded), None)

    def _trim(self) -> None:
        """Takes entries that other lanes have served off both ends, so that not a million of them are searched."""
        for hints in (self.overdue, self.line):
            while hints and not self._waits(hints[0]):
                hints.popleft()
            while hints and not self._waits(hints[-1]):
                hints.pop()

    def _distinct(self, hints: Iterable[Entry]) -> Iterator[Entry]:
        seen: set[int] = set()
        for entry in hints:
            if self._waits(entry) and id(entry) not in seen:
                seen.add(id(entry))
                yield entry

    def _waits(self, entry: Entry) -> bool:
        return entry.state is EntryState.WAITING and entry.has(self)

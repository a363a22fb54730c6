"""Decides which phone is called next and who pays: fair by owner, then by upload, once per phone. Pure."""

import heapq
from collections import deque
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import count

from schemas.lookups import LookupRequest
from services.lookup.gate.lanes import Ask, Entry, Lane, Stage
from services.lookup.gate.turns import Turns

DROPPED_AT_ONCE = 200
"""Under a millisecond's work: a call that is due meanwhile is not late."""


class Queue:
    """All phones that somebody waits for.

    A phone has one entry however many uploads want it; its entry stands in the line of each, and the first lane whose
    turn reaches it pays. Every operation is O(1) or O(log n) in the number of phones, and linear in the lanes of the
    phone that it moves; except looking ahead, `take_witness` (linear in the lanes) and the first step of `drop_lane`
    (linear in the backoffs and the calls in progress).
    """

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._lanes: dict[str, Lane] = {}
        self.turns = Turns()
        self._backoffs: list[tuple[float, int, Entry]] = []
        self._called: set[Entry] = set()
        self._refusable: dict[Lane, None] = {}
        self._tick = count()
        self._totals = [0, 0, 0]

    # -- what is in it

    def entry(self, phone: str) -> Entry | None:
        return self._entries.get(phone)

    def lane(self, upload_id: str) -> Lane | None:
        return self._lanes.get(upload_id)

    @property
    def lanes(self) -> Iterable[Lane]:
        return self._lanes.values()

    @property
    def lane_count(self) -> int:
        return len(self._lanes)

    def total(self, stage: Stage) -> int:
        """Phones at a stage, each counted once."""
        return self._totals[stage]

    @property
    def has_callable(self) -> bool:
        return self.turns.head() is not None

    # -- requests come and go

    def want(self, request: LookupRequest, *, offset: int, priority: int, paused: bool, opened: bool = True) -> Entry:
        """Puts the phone in its upload's line, or adds the upload to those that await it anyhow.

        `priority`, `paused` and `opened` are the upload's own, used if this is its first phone here.
        """
        lane = self._lanes.get(request.upload_id)
        if lane is None:
            lane = Lane(request.upload_id, request.owner, priority=priority, paused=paused, opened=opened)
            self._lanes[request.upload_id] = lane
        ask = lane.ask_for(request)
        entry = self._entries.get(request.phone)
        if entry is None:
            entry = self._entries[request.phone] = Entry(request.phone, ask.alone, offset)
            self._totals[Stage.WAITING] += 1
            self._join(entry, lane)
        elif all(have.round != ask.round for have in entry.of(lane)):
            is_new_here = not entry.has(lane)
            entry.add(ask)
            if is_new_here:
                self._join(entry, lane)
        return entry

    def withdraw(self, entry: Entry, asks: Iterable[Ask]) -> None:
        """These asks need the phone no more. With the last one the entry is settled."""
        for lane in entry.remove(asks):
            lane.count[entry.stage] -= 1
            self._lane_changed(lane)
        if not entry.is_wanted and entry.stage is not Stage.CALLED:
            self._forget(entry)

    def drop_lane(self, upload_id: str) -> Iterator[list[tuple[Entry, Ask]]]:
        """Takes an upload out, some phones at a time: what it asked for. Phones that others await stay in their lines.

        With the first step the upload has no turn any more; between two steps the queue may be used as usual.
        """
        lane = self._lanes.get(upload_id)
        if lane is None:
            return
        lane.paused = True
        self._lane_changed(lane)
        elsewhere = deque(entry for _, _, entry in self._backoffs if entry.has(lane))
        elsewhere.extend(entry for entry in self._called if entry.has(lane))
        for line in (elsewhere, lane.overdue, lane.line):
            while line:
                yield self._drop(lane, [line.popleft() for _ in range(min(len(line), DROPPED_AT_ONCE))])

    def _drop(self, lane: Lane, entries: Iterable[Entry]) -> list[tuple[Entry, Ask]]:
        dropped: list[tuple[Entry, Ask]] = []
        for entry in entries:
            mine = entry.of(lane)
            if mine and entry.stage is not Stage.SETTLED:
                dropped.extend((entry, ask) for ask in mine)
                entry.remove(mine)
                lane.count[entry.stage] -= 1
                if not entry.is_wanted and entry.stage is not Stage.CALLED:
                    self._forget(entry)
        self._lane_changed(lane)
        return dropped

    # -- calls

    def take(self, may_pay: Callable[[Lane], bool] = lambda _lane: True) -> tuple[Entry, Lane] | None:
        """The next phone to call and the lane that pays for it; None if none may be called.

        A lane whose turn it is and that may not pay has no turn from then on: it is `spent`.
        """
        while (lane := self.turns.head()) is not None:
            if may_pay(lane):
                entry = lane.pop()
                self.turns.charge(lane)
                return self._call(entry), lane
            self.set_spent(lane, True)
        return None

    def take_witness(
        self,
        tried: Collection[str],
        blamed: Container[str],
        asked: Mapping[str, int],
        may_pay: Callable[[Lane], bool] = lambda _lane: True,
    ) -> tuple[Entry, Lane] | None:
        """The phone whose call tells most of a provider that answers nobody; None if none may be called.

        One that was not `tried`, of an upload that is not `blamed`, of the upload that was `asked` longest ago; from
        the end of its line, for those that failed stood at its beginning. If all were tried, the first of `tried`.
        """
        lanes = sorted(self.turns.lanes(), key=lambda lane: (lane.upload_id in blamed, asked.get(lane.upload_id, 0)))
        for lane in lanes:
            entry = lane.last_waiting(tried)
            if entry is not None and may_pay(lane):
                return self._call(entry), lane
        for phone in tried:
            entry = self._entries.get(phone)
            if entry is not None and entry.stage is Stage.WAITING:
                payer = next((lane for lane in entry.lanes() if lane.is_callable and may_pay(lane)), None)
                if payer is not None:
                    return self._call(entry), payer
        return None

    def take_spent(self, most: int) -> tuple[Lane, list[Entry]] | None:
        """Phones that wait in a lane which may pay for no call, to be refused; at most so many."""
        lane = next(iter(self._refusable), None)
        if lane is None:
            return None
        entries = [self._call(lane.pop()) for _ in range(min(most, lane.count[Stage.WAITING]))]
        return lane, entries

    def next_spent(self) -> Lane | None:
        """The lane that `take_spent` would take from."""
        return next(iter(self._refusable), None)

    def _call(self, entry: Entry) -> Entry:
        self._move(entry, Stage.CALLED)
        self._called.add(entry)
        return entry

    def release(self, entry: Entry) -> None:
        """The call was not made, or yielded nothing: the phone waits again, before its lane's others."""
        self._called.discard(entry)
        if not entry.is_wanted:
            self._forget(entry)
            return
        self._move(entry, Stage.WAITING)
        for lane in entry.lanes():
            lane.overdue.appendleft(entry)
            self._lane_changed(lane)

    def back_off(self, entry: Entry, until: datetime) -> None:
        """The phone is not called before `until`. Others go ahead."""
        self._called.discard(entry)
        if not entry.is_wanted:
            self._forget(entry)
            return
        self._move(entry, Stage.BACKOFF)
        entry.due_at = until.timestamp()
        for lane in entry.lanes():
            lane.last_due_at = max(lane.last_due_at, entry.due_at)
        heapq.heappush(self._backoffs, (entry.due_at, next(self._tick), entry))

    def advance(self, now: datetime) -> None:
        """Phones whose backoff is over wait for their turn again."""
        moment = now.timestamp()
        while self._backoffs and self._backoffs[0][0] <= moment:
            _, _, entry = heapq.heappop(self._backoffs)
            # An entry that was settled, or backed off anew since, has another place already.
            if entry.stage is not Stage.BACKOFF or entry.due_at > moment:
                continue
            self._move(entry, Stage.WAITING)
            for lane in entry.lanes():
                lane.overdue.append(entry)
                self._lane_changed(lane)

    def next_due_at(self) -> float | None:
        """When the first backoff ends, seconds since the epoch."""
        return self._backoffs[0][0] if self._backoffs else None

    # -- commands

    def set_priority(self, upload_id: str, priority: int) -> None:
        lane = self._lanes.get(upload_id)
        if lane is not None:
            lane.priority = priority
            self.turns.weight_changed(lane)

    def set_paused(self, upload_id: str, paused: bool) -> None:
        """A paused lane gets no turn; its phones may still be called on another lane's."""
        lane = self._lanes.get(upload_id)
        if lane is not None:
            lane.paused = paused
            self._lane_changed(lane)

    def set_opened(self, upload_id: str) -> None:
        """There is such an upload: its lane may have turns."""
        lane = self._lanes.get(upload_id)
        if lane is not None:
            lane.opened = True
            self._lane_changed(lane)

    def set_spent(self, lane: Lane, spent: bool) -> None:
        """A spent lane gets no turn; its phones are to be refused, or called on another lane's."""
        lane.spent = spent
        self._lane_changed(lane)

    # -- looking ahead

    def has_other(self, upload_ids: Container[str]) -> bool:
        """Whether an upload that is none of these has a phone that may be called."""
        return any(lane.upload_id not in upload_ids for lane in self.turns.lanes())

    def has_untried(self, phones: Container[str]) -> bool:
        """Whether a phone may be called that is none of these."""
        return any(lane.last_waiting(phones) is not None for lane in self.turns.lanes())

    # -- inside

    def _join(self, entry: Entry, lane: Lane) -> None:
        lane.count[entry.stage] += 1
        if entry.stage is not Stage.CALLED:
            lane.line.append(entry)
        if entry.stage is Stage.BACKOFF:
            lane.last_due_at = max(lane.last_due_at, entry.due_at)
        self._lane_changed(lane)

    def _move(self, entry: Entry, stage: Stage) -> None:
        before, entry.stage = entry.stage, stage
        self._totals[before] -= 1
        self._totals[stage] += 1
        for lane in entry.lanes():
            lane.count[before] -= 1
            lane.count[stage] += 1
            self._lane_changed(lane)

    def _forget(self, entry: Entry) -> None:
        self._totals[entry.stage] -= 1
        entry.stage = Stage.SETTLED
        if self._entries.get(entry.phone) is entry:
            del self._entries[entry.phone]

    def _lane_changed(self, lane: Lane) -> None:
        """Lets the lane take part in the turns exactly while it has a callable phone, or in being refused."""
        if lane.spent and lane.may_have_turns and lane.count[Stage.WAITING] > 0:
            self._refusable[lane] = None
        else:
            self._refusable.pop(lane, None)
        self.turns.update(lane)
        if lane.is_empty:
            self._lanes.pop(lane.upload_id, None)

"""Decides which phone is called next and who pays: fair by owner, then by upload, once per phone. Pure."""

import heapq
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import count

from schemas.lookups import LookupRequest
from services.lookup.fairness import WEIGHTS, Wheel
from services.lookup.lanes import Ask, Entry, Lane, Stage

DROPPED_AT_ONCE = 200
"""Under a millisecond's work: a call that is due meanwhile is not late."""


class Queue:
    """All phones that somebody waits for.

    A phone has one entry however many uploads want it; its entry stands in the line of each, and the first lane whose
    turn reaches it pays. Every operation is O(1) or O(log n) in the number of phones, except `turns` and the first step
    of `drop_lane` (linear in the backoffs and the calls in progress).
    """

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._lanes: dict[str, Lane] = {}
        self._owners: Wheel[str] = Wheel(lambda _owner: 1.0)
        self._wheels: dict[str, Wheel[Lane]] = {}
        self._backoffs: list[tuple[float, int, Entry]] = []
        self._called: set[Entry] = set()
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

    def total(self, stage: Stage) -> int:
        """Phones at a stage, each counted once."""
        return self._totals[stage]

    @property
    def has_callable(self) -> bool:
        return self._owners.head() is not None

    # -- requests come and go

    def want(self, request: LookupRequest, *, offset: int, priority: int, paused: bool) -> Entry:
        """Puts the phone in its upload's line, or adds the upload to those that await it anyhow.

        `priority` and `paused` are the upload's own, used if this is its first phone here.
        """
        lane = self._lanes.get(request.upload_id)
        if lane is None:
            lane = Lane(request.upload_id, request.owner, priority=priority, paused=paused)
            self._lanes[request.upload_id] = lane
        ask = lane.ask_for(request)
        entry = self._entries.get(request.phone)
        if entry is None:
            entry = self._entries[request.phone] = Entry(request.phone, ask.alone, offset)
            self._totals[Stage.WAITING] += 1
            self._join(entry, lane)
        elif all(have.lane is not lane or have.round != ask.round for have in entry.asks):
            is_new_here = not entry.has(lane)
            entry.asks = (*entry.asks, ask)
            if is_new_here:
                self._join(entry, lane)
        return entry

    def withdraw(self, entry: Entry, asks: Iterable[Ask]) -> None:
        """These asks need the phone no more. With the last one the entry is settled."""
        gone = set(asks)
        before = entry.lanes()
        entry.asks = tuple(ask for ask in entry.asks if ask not in gone)
        for lane in before - entry.lanes():
            lane.count[entry.stage] -= 1
            self._lane_changed(lane)
        if not entry.asks and entry.stage is not Stage.CALLED:
            self._forget(entry)

    def drop_lane(self, upload_id: str) -> Iterator[list[tuple[Entry, Ask]]]:
        """Takes an upload out, some phones at a time: what it asked for. Phones that others await stay in their lines.

        With the first step the upload has no turn any more; between two steps the queue may be used as usual.
        """
        lane = self._lanes.get(upload_id)
        if lane is None:
            return
        lane.paused = True
        elsewhere = [entry for _, _, entry in self._backoffs if entry.has(lane)]
        elsewhere += [entry for entry in self._called if entry.has(lane)]
        yield self._drop(lane, elsewhere)
        for line in (lane.overdue, lane.line):
            while line:
                yield self._drop(lane, [line.popleft() for _ in range(min(len(line), DROPPED_AT_ONCE))])

    def _drop(self, lane: Lane, entries: Iterable[Entry]) -> list[tuple[Entry, Ask]]:
        dropped: list[tuple[Entry, Ask]] = []
        for entry in entries:
            mine = [ask for ask in entry.asks if ask.lane is lane]
            if mine and entry.stage is not Stage.SETTLED:
                dropped.extend((entry, ask) for ask in mine)
                entry.asks = tuple(ask for ask in entry.asks if ask.lane is not lane)
                lane.count[entry.stage] -= 1
                if not entry.asks and entry.stage is not Stage.CALLED:
                    self._forget(entry)
        self._lane_changed(lane)
        return dropped

    # -- calls

    def take(self) -> tuple[Entry, Lane] | None:
        """The next phone to call and the lane that pays for it; None if none may be called."""
        owner = self._owners.head()
        if owner is None:
            return None
        wheel = self._wheels[owner]
        lane = wheel.head()
        assert lane is not None, "an owner has a turn only while one of its lanes has a phone"
        entry = lane.pop()
        self._owners.charge(owner)
        wheel.charge(lane)
        self._move(entry, Stage.CALLED)
        self._called.add(entry)
        return entry, lane

    def release(self, entry: Entry) -> None:
        """The call was not made, or yielded nothing: the phone waits again, before its lane's others."""
        self._called.discard(entry)
        if not entry.asks:
            self._forget(entry)
            return
        self._move(entry, Stage.WAITING)
        for lane in entry.lanes():
            lane.overdue.appendleft(entry)
            self._lane_changed(lane)

    def back_off(self, entry: Entry, until: datetime) -> None:
        """The phone is not called before `until`. Others go ahead."""
        self._called.discard(entry)
        if not entry.asks:
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
            if lane.owner in self._wheels:
                self._wheels[lane.owner].weight_changed(lane)

    def set_paused(self, upload_id: str, paused: bool) -> None:
        """A paused lane gets no turn; its phones may still be called on another lane's."""
        lane = self._lanes.get(upload_id)
        if lane is not None:
            lane.paused = paused
            self._lane_changed(lane)

    # -- looking ahead

    def turns(self) -> Iterator[Lane]:
        """The lanes in the order of their next calls, as if nothing more came in. A lane comes once per call."""
        owners = self._owners.copy()
        wheels = {owner: wheel.copy() for owner, wheel in self._wheels.items()}
        left = {lane: lane.count[Stage.WAITING] for wheel in wheels.values() for lane in wheel.members()}
        while (owner := owners.head()) is not None:
            lane = wheels[owner].head()
            assert lane is not None
            yield lane
            owners.charge(owner)
            wheels[owner].charge(lane)
            left[lane] -= 1
            if left[lane] == 0:
                wheels[owner].discard(lane)
            if not wheels[owner]:
                owners.discard(owner)

    def share(self, lane: Lane) -> float:
        """The part of all calls that goes to the lane now: owners alike, an owner's lanes by weight."""
        wheel = self._wheels.get(lane.owner)
        if wheel is None or lane not in wheel:
            return 0.0
        return WEIGHTS[lane.priority] / sum(WEIGHTS[each.priority] for each in wheel.members()) / len(self._owners)

    # -- inside

    def _join(self, entry: Entry, lane: Lane) -> None:
        lane.count[entry.stage] += 1
        if entry.stage is not Stage.CALLED:
            lane.line.append(entry)
        if entry.stage is Stage.BACKOFF:
            lane.last_due_at = max(lane.last_due_at, entry.due_at)
        self._lane_changed(lane)

    def _move(self, entry: Entry, stage: Stage) -> None:
        self._totals[entry.stage] -= 1
        self._totals[stage] += 1
        for lane in entry.lanes():
            lane.count[entry.stage] -= 1
            lane.count[stage] += 1
        entry.stage = stage
        for lane in entry.lanes():
            self._lane_changed(lane)

    def _forget(self, entry: Entry) -> None:
        self._totals[entry.stage] -= 1
        entry.stage = Stage.SETTLED
        if self._entries.get(entry.phone) is entry:
            del self._entries[entry.phone]

    def _lane_changed(self, lane: Lane) -> None:
        """Lets the lane take part in the turns exactly while it has a callable phone."""
        wheel = self._wheels.get(lane.owner)
        if lane.is_callable:
            if wheel is None:
                wheel = self._wheels[lane.owner] = Wheel(lambda lane: WEIGHTS[lane.priority])
            wheel.add(lane)
            self._owners.add(lane.owner)
        elif wheel is not None:
            wheel.discard(lane)
            if not wheel:
                del self._wheels[lane.owner]
                self._owners.discard(lane.owner)
        if lane.is_empty:
            self._lanes.pop(lane.upload_id, None)

"""Decides which phone is called next and which upload pays: fair by owner, then by upload, once per phone. Pure."""

import heapq
from collections import deque
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import count

from schemas.lookups import LookupRequest
from services.lookup.gate.lanes import Ask, Entry, EntryState, Lane
from services.lookup.gate.turns import LaneTurns

DROPPED_AT_ONCE = 200
"""Less than a millisecond of work, so that no call is late."""


class LookupQueue:
    """All phones that uploads wait for.

    A phone has one entry, however many uploads want it. The entry is in the line of each upload, and the first lane
    whose turn reaches it pays. Each operation is O(1) or O(log n) in the number of phones, and linear in
    the lanes of the phone that it moves. Three operations cost more: looking ahead, `take_probe` (linear in the lanes)
    and the first step of `drop_lane` (linear in the backoffs and the calls in progress).
    """

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._lanes: dict[str, Lane] = {}
        self.turns = LaneTurns()
        self._backoffs: list[tuple[float, int, Entry]] = []
        self._called: set[Entry] = set()
        self._refusable: dict[Lane, None] = {}
        self._tick = count()
        self._totals = [0, 0, 0]

    # -- contents

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

    def total(self, state: EntryState) -> int:
        """The number of phones in a state, each counted once."""
        return self._totals[state]

    @property
    def has_callable(self) -> bool:
        return self.turns.head() is not None

    # -- requests come and go

    def want(self, request: LookupRequest, *, offset: int, priority: int, paused: bool, opened: bool = True) -> Entry:
        """Adds the phone to the line of its upload. A phone that is in the queue already gets one more ask.

        `priority`, `paused` and `opened` are used if this is the first phone of the upload.
        """
        lane = self._lanes.get(request.upload_id)
        if lane is None:
            lane = Lane(request.upload_id, request.owner, priority=priority, paused=paused, opened=opened)
            self._lanes[request.upload_id] = lane
        ask = lane.ask_for(request)
        entry = self._entries.get(request.phone)
        if entry is None:
            entry = self._entries[request.phone] = Entry(request.phone, ask.alone, offset)
            self._totals[EntryState.WAITING] += 1
            self._join(entry, lane)
        elif all(have.round != ask.round for have in entry.of(lane)):
            is_new_here = not entry.has(lane)
            entry.add(ask)
            if is_new_here:
                self._join(entry, lane)
        return entry

    def withdraw(self, entry: Entry, asks: Iterable[Ask]) -> None:
        """Takes these asks out. With the last one the entry is done."""
        for lane in entry.remove(asks):
            lane.count[entry.state] -= 1
            self._lane_changed(lane)
        if not entry.is_wanted and entry.state is not EntryState.CALLED:
            self._forget(entry)

    def drop_lane(self, upload_id: str) -> Iterator[list[tuple[Entry, Ask]]]:
        """Takes an upload out, some phones per step, and yields its asks. Phones that other uploads want stay.

        The upload has no turn from the first step on. Between two steps the queue may be used as usual.
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
            if mine and entry.state is not EntryState.DONE:
                dropped.extend((entry, ask) for ask in mine)
                entry.remove(mine)
                lane.count[entry.state] -= 1
                if not entry.is_wanted and entry.state is not EntryState.CALLED:
                    self._forget(entry)
        self._lane_changed(lane)
        return dropped

    # -- calls

    def take(self, may_pay: Callable[[Lane], bool] = lambda _lane: True) -> tuple[Entry, Lane] | None:
        """The next phone to call and the lane that pays for it. None: no phone may be called.

        A lane that may not pay on its turn becomes `spent` and has no turn from then on.
        """
        while (lane := self.turns.head()) is not None:
            if may_pay(lane):
                entry = lane.pop()
                self.turns.charge(lane)
                return self._call(entry), lane
            self.set_spent(lane, True)
        return None

    def take_probe(
        self,
        failed_phones: Collection[str],
        common_uploads: Container[str],
        last_probes: Mapping[str, int],
        may_pay: Callable[[Lane], bool] = lambda _lane: True,
    ) -> tuple[Entry, Lane] | None:
        """The phone to probe a provider with that answers no call, and the lane that pays. None: there is none.

        The best probe has not failed yet. It is of an upload that is not in `common_uploads` and whose last probe was
        longest ago. It is from the end of the line, because the phones that failed were at its beginning. If all phones
        have failed, the probe is the first of `failed_phones`.
        """
        lanes = sorted(
            self.turns.lanes(), key=lambda lane: (lane.upload_id in common_uploads, last_probes.get(lane.upload_id, 0))
        )
        for lane in lanes:
            entry = lane.last_waiting(failed_phones)
            if entry is not None and may_pay(lane):
                return self._call(entry), lane
        for phone in failed_phones:
            entry = self._entries.get(phone)
            if entry is not None and entry.state is EntryState.WAITING:
                payer = next((lane for lane in entry.lanes() if lane.is_callable and may_pay(lane)), None)
                if payer is not None:
                    return self._call(entry), payer
        return None

    def take_spent(self, most: int) -> tuple[Lane, list[Entry]] | None:
        """At most `most` phones of a lane that is spent. The caller refuses them. None: there is no such lane."""
        lane = next(iter(self._refusable), None)
        if lane is None:
            return None
        entries = [self._call(lane.pop()) for _ in range(min(most, lane.count[EntryState.WAITING]))]
        return lane, entries

    def next_spent(self) -> Lane | None:
        """The lane that `take_spent` would take from."""
        return next(iter(self._refusable), None)

    def _call(self, entry: Entry) -> Entry:
        self._move(entry, EntryState.CALLED)
        self._called.add(entry)
        return entry

    def release(self, entry: Entry) -> None:
        """The call was not made, or had no result: the phone waits again, ahead of the others of its lanes."""
        self._called.discard(entry)
        if not entry.is_wanted:
            self._forget(entry)
            return
        self._move(entry, EntryState.WAITING)
        for lane in entry.lanes():
            lane.overdue.appendleft(entry)
            self._lane_changed(lane)

    def back_off(self, entry: Entry, until: datetime) -> None:
        """The phone is not called before `until`. Other phones are called meanwhile."""
        self._called.discard(entry)
        if not entry.is_wanted:
            self._forget(entry)
            return
        self._move(entry, EntryState.BACKOFF)
        entry.due_at = until.timestamp()
        for lane in entry.lanes():
            lane.last_due_at = max(lane.last_due_at, entry.due_at)
        heapq.heappush(self._backoffs, (entry.due_at, next(self._tick), entry))

    def advance(self, now: datetime) -> None:
        """Lets phones whose backoff is over wait for their turn again."""
        moment = now.timestamp()
        while self._backoffs and self._backoffs[0][0] <= moment:
            _, _, entry = heapq.heappop(self._backoffs)
            # An entry that is done, or that backed off again since, has left this place.
            if entry.state is not EntryState.BACKOFF or entry.due_at > moment:
                continue
            self._move(entry, EntryState.WAITING)
            for lane in entry.lanes():
                lane.overdue.append(entry)
                self._lane_changed(lane)

    def next_due_at(self) -> float | None:
        """When the first backoff ends, in seconds since the epoch. None: there is none."""
        return self._backoffs[0][0] if self._backoffs else None

    # -- commands

    def set_priority(self, upload_id: str, priority: int) -> None:
        lane = self._lanes.get(upload_id)
        if lane is not None:
            lane.priority = priority
            self.turns.weight_changed(lane)

    def set_paused(self, upload_id: str, paused: bool) -> None:
        """A paused lane gets no turn. Its phones may still be called on the turn of another lane."""
        lane = self._lanes.get(upload_id)
        if lane is not None:
            lane.paused = paused
            self._lane_changed(lane)

    def set_opened(self, upload_id: str) -> None:
        """The opening of the upload is on the log: its lane may have turns."""
        lane = self._lanes.get(upload_id)
        if lane is not None:
            lane.opened = True
            self._lane_changed(lane)

    def set_spent(self, lane: Lane, spent: bool) -> None:
        """A spent lane gets no turn. Its phones are refused, or called on the turn of another lane."""
        lane.spent = spent
        self._lane_changed(lane)

    # -- looking ahead

    def has_other(self, upload_ids: Container[str]) -> bool:
        """Whether an upload that is not one of these has a phone that may be called."""
        return any(lane.upload_id not in upload_ids for lane in self.turns.lanes())

    def has_untried(self, phones: Container[str]) -> bool:
        """Whether a phone may be called that is not one of these."""
        return any(lane.last_waiting(phones) is not None for lane in self.turns.lanes())

    # -- inside

    def _join(self, entry: Entry, lane: Lane) -> None:
        lane.count[entry.state] += 1
        if entry.state is not EntryState.CALLED:
            lane.line.append(entry)
        if entry.state is EntryState.BACKOFF:
            lane.last_due_at = max(lane.last_due_at, entry.due_at)
        self._lane_changed(lane)

    def _move(self, entry: Entry, state: EntryState) -> None:
        before, entry.state = entry.state, state
        self._totals[before] -= 1
        self._totals[state] += 1
        for lane in entry.lanes():
            lane.count[before] -= 1
            lane.count[state] += 1
            self._lane_changed(lane)

    def _forget(self, entry: Entry) -> None:
        self._totals[entry.state] -= 1
        entry.state = EntryState.DONE
        if self._entries.get(entry.phone) is entry:
            del self._entries[entry.phone]

    def _lane_changed(self, lane: Lane) -> None:
        """Adds the lane to the turns, or to the refusable lanes, exactly while it has a phone for it."""
        if lane.spent and lane.may_have_turns and lane.count[EntryState.WAITING] > 0:
            self._refusable[lane] = None
        else:
            self._refusable.pop(lane, None)
        self.turns.update(lane)
        if lane.is_empty:
            self._lanes.pop(lane.upload_id, None)

"""The queue against a model that is as simple as can be: any sequence of events leaves both in the same state."""

from collections import Counter
from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.lookup.gate.lanes import Entry, EntryState
from services.lookup.gate.queue import LookupQueue
from tests.unit.lookup.gate.requests import NOW, id_of, name_of, phone, request

OWNERS = {id_of(name): name[0] for name in ("a1", "a2", "b1", "c1", "d1", "e1", "f1")}
UPLOADS = tuple(OWNERS)
numbers = st.integers(0, 5)
uploads = st.sampled_from(UPLOADS)
rounds = st.integers(0, 1)


class QueueMachine(RuleBasedStateMachine):
    """`wanted` maps a phone to the (upload, round) pairs that await it; the other sets say where a phone is."""

    calls = Bundle("calls")

    @initialize()
    def begin(self) -> None:
        self.queue = LookupQueue()
        self.now = NOW
        self.wanted: dict[str, set[tuple[str, int]]] = {}
        self.backoff: dict[str, float] = {}
        self.called: dict[str, Entry] = {}
        self.paused: set[str] = set()
        self.unopened: set[str] = set()
        self.spent: set[str] = set()
        self.offset = 0

    def is_waiting(self, number: str) -> bool:
        return bool(self.wanted.get(number)) and number not in self.called and number not in self.backoff

    def callable_phones(self) -> set[str]:
        return {
            number
            for number, asks in self.wanted.items()
            if self.is_waiting(number) and any(self.may_be_called(upload) for upload, _ in asks)
        }

    def may_be_called(self, upload: str) -> bool:
        return upload not in self.paused | self.unopened | self.spent

    @rule(number=numbers, upload=uploads, round_=rounds)
    def want(self, number: int, upload: str, round_: int) -> None:
        self.offset += 1
        message = request(number, name_of(upload), round_=round_, owner=OWNERS[upload])
        if self.queue.lane(upload) is None:
            # A lane that is made anew has paid for nothing yet.
            self.spent.discard(upload)
        self.queue.want(
            message,
            offset=self.offset,
            priority=3,
            paused=upload in self.paused,
            opened=upload not in self.unopened,
        )
        self.wanted.setdefault(phone(number), set()).add((upload, round_))

    @rule(target=calls)
    def take(self) -> Entry | None:
        expected = self.callable_phones()
        taken = self.queue.take()
        if taken is None:
            assert not expected, "a callable phone was left while a call could be made"
            return None
        entry, lane = taken
        assert entry.phone in expected
        assert entry.phone not in self.called, "a phone was called twice at once"
        assert self.may_be_called(lane.upload_id)
        assert lane.upload_id in {upload for upload, _ in self.wanted[entry.phone]}
        self.called[entry.phone] = entry
        return entry

    @rule(entry=calls)
    def release(self, entry: Entry | None) -> None:
        if entry is not None and self.called.get(entry.phone) is entry:
            self.queue.release(entry)
            del self.called[entry.phone]

    @rule(entry=calls, seconds=st.integers(0, 100))
    def back_off(self, entry: Entry | None, seconds: int) -> None:
        if entry is not None and self.called.get(entry.phone) is entry:
            until = self.now + timedelta(seconds=seconds)
            self.queue.back_off(entry, until)
            del self.called[entry.phone]
            if self.wanted.get(entry.phone):
                self.backoff[entry.phone] = until.timestamp()

    @rule(entry=calls)
    def answer(self, entry: Entry | None) -> None:
        """A result that settles all who wait at that moment."""
        if entry is not None and self.called.get(entry.phone) is entry:
            self.queue.withdraw(entry, entry.asks)
            self.queue.release(entry)
            del self.called[entry.phone]
            self.wanted.pop(entry.phone, None)

    @rule(number=numbers, upload=uploads, round_=rounds)
    def bury(self, number: int, upload: str, round_: int) -> None:
        entry = self.queue.entry(phone(number))
        if entry is not None:
            asks = [ask for ask in entry.asks if (ask.upload_id, ask.round) == (upload, round_)]
            self.queue.withdraw(entry, asks)
        self.forget(phone(number), {(upload, round_)})

    @rule(upload=uploads)
    def cancel(self, upload: str) -> None:
        dropped = [each for step in self.queue.drop_lane(upload) for each in step]
        theirs = {(number, pair) for number, asks in self.wanted.items() for pair in asks if pair[0] == upload}
        assert {(entry.phone, (ask.upload_id, ask.round)) for entry, ask in dropped} == theirs
        for number, pair in theirs:
            self.forget(number, {pair})

    def forget(self, number: str, pairs: set[tuple[str, int]]) -> None:
        left = self.wanted.get(number, set()) - pairs
        if left:
            self.wanted[number] = left
        else:
            self.wanted.pop(number, None)
            self.backoff.pop(number, None)

    @rule(upload=uploads, paused=st.booleans())
    def pause_or_resume(self, upload: str, paused: bool) -> None:
        self.queue.set_paused(upload, paused)
        (self.paused.add if paused else self.paused.discard)(upload)

    @rule(upload=uploads)
    def close_or_open(self, upload: str) -> None:
        if upload in self.unopened:
            self.queue.set_opened(upload)
            self.unopened.discard(upload)
        elif self.queue.lane(upload) is None:
            self.unopened.add(upload)

    @rule(upload=uploads, spent=st.booleans())
    def spend_or_refund(self, upload: str, spent: bool) -> None:
        lane = self.queue.lane(upload)
        if lane is not None:
            self.queue.set_spent(lane, spent)
            (self.spent.add if spent else self.spent.discard)(upload)

    @rule(target=calls)
    def take_probe(self) -> Entry | None:
        """Any callable phone will do; one that was not tried is preferred to one that was."""
        expected = self.callable_phones()
        tried = sorted(expected)[: len(expected) // 2]
        taken = self.queue.take_probe(tried, set(), {})
        if taken is None:
            assert not expected
            return None
        entry, lane = taken
        assert entry.phone in expected - set(tried)
        assert self.may_be_called(lane.upload_id)
        self.called[entry.phone] = entry
        return entry

    @rule(most=st.integers(1, 3))
    def refuse(self, most: int) -> None:
        taken = self.queue.take_spent(most)
        expected = {
            number
            for number, asks in self.wanted.items()
            if self.is_waiting(number) and any(upload in self.spent - self.paused - self.unopened for upload, _ in asks)
        }
        if taken is None:
            assert not expected
            return
        lane, entries = taken
        assert 1 <= len(entries) <= most
        for entry in entries:
            assert entry.phone in expected
            self.queue.withdraw(entry, entry.of(lane))
            self.queue.release(entry)
            self.forget(entry.phone, {pair for pair in self.wanted[entry.phone] if pair[0] == lane.upload_id})

    @rule(upload=uploads, priority=st.integers(1, 5))
    def set_priority(self, upload: str, priority: int) -> None:
        self.queue.set_priority(upload, priority)

    @rule(seconds=st.integers(0, 60))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        self.queue.advance(self.now)
        self.backoff = {number: until for number, until in self.backoff.items() if until > self.now.timestamp()}

    @precondition(lambda self: self.callable_phones())
    @rule()
    def drain(self) -> None:
        """Looking ahead tells the turns that then come."""
        ahead = [lane.upload_id for lane, _ in zip(self.queue.turns.ahead(), range(3), strict=False)]
        taken = self.queue.take()
        assert taken is not None
        assert taken[1].upload_id == ahead[0]
        self.called[taken[0].phone] = taken[0]
        self.release(taken[0])

    @invariant()
    def counts_agree(self) -> None:
        waiting = {number for number in self.wanted if self.is_waiting(number)}
        assert self.queue.total(EntryState.WAITING) == len(waiting)
        assert self.queue.total(EntryState.BACKOFF) == len(self.backoff)
        assert self.queue.total(EntryState.CALLED) == len(self.called)
        assert self.queue.has_callable == bool(self.callable_phones())
        by_lane = Counter(upload for number in waiting for upload in {each for each, _ in self.wanted[number]})
        assert {lane.upload_id: lane.count[EntryState.WAITING] for lane in self.queue.lanes if not lane.is_empty} == {
            upload: by_lane[upload] for upload in {each for asks in self.wanted.values() for each, _ in asks}
        }


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

"""Decides which call is made next and what each reply means: results, retries, dead letters, pauses. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from schemas.codec import UndecodableRecord, decode
from schemas.lookups import AttemptError, LookupResult, LookupStatus
from services.lookup.gate.blame import Blame
from services.lookup.gate.clock import Clock
from services.lookup.gate.counters import Tally
from services.lookup.gate.fold import Fold
from services.lookup.gate.lanes import Ask, Entry, Lane, Stage
from services.lookup.gate.outcome_records import FAILED, Records, Told, dead_letter_of, max_calls_error, results_of
from services.lookup.gate.provider_health import Health
from services.lookup.gate.retries import GiveUp, History, decide
from services.lookup.providers.protocol import AccountProblem, Found, NotValid, Reply, Wait

REFUSED_AT_ONCE = 50
"""4 ms of work (measured): a call that is due meanwhile is hardly late."""


@dataclass(slots=True, eq=False)
class Call:
    """A lookup that was decided on. `payer` is the upload on whose turn it is made; `written`: it can have arrived."""

    entry: Entry
    payer: str
    probe: bool
    written: bool = False

    @property
    def phone(self) -> str:
        return self.entry.phone


class GateCore:
    """The gate without its sockets and its log. Its times are the clock's steady ones, those written are the wall's.

    A call goes: `next_call`, then `withdrawn` if it was not made after all, or `replied`; for each result that
    `replied` asks for, `settled` when it is acknowledged; then `finished`. Phones of an upload that may pay for no call
    go to `next_refused` instead, and on from there in the same way.
    """

    def __init__(
        self,
        *,
        provider: str,
        max_attempts: int,
        random: Callable[[], float],
        clock: Clock | None = None,
        keep_days: int = 30,
    ) -> None:
        self.clock = clock or Clock()
        self.fold = Fold(keep_days=keep_days, to_steady=self.clock.to_steady)
        self.health = Health()
        self.tally = Tally()
        self.last_status_ms = 0
        self._blame = Blame(self.health, self.fold)
        self._provider = provider
        self._max_attempts = max_attempts
        self._random = random

    def take_over(self) -> None:
        """This process is the active gate from now on: it counts on from where the one before stopped."""
        self.fold.take_over()
        try:
            last = decode(LookupStatus, self.fold.last_status)
        except UndecodableRecord:
            # There is none yet, or it was no gate that wrote it: counts are for people, calls do not depend on them.
            return
        self.tally.go_on_from(last, self.fold.controls.capped())
        self.last_status_ms = int(last.at.timestamp() * 1000)

    def end_uploads(self, now: datetime) -> Iterator[None]:
        """Ends, step by step, the uploads that are over. Only for whoever has read the log to its end."""
        now_ms = int(self.clock.to_wall(now).timestamp() * 1000)
        is_done = False
        while not is_done:
            is_done = True
            for upload_id in self.fold.end_next(now_ms):
                is_done = False
                self.tally.forget(upload_id)
                yield

    # -- calls

    def next_call(self, now: datetime) -> Call | None:
        """The call to make now; None if there is none or none may be made. Its phone is called by nobody else."""
        queue, health = self.fold.queue, self.health
        queue.advance(now)
        if self.fold.paused or not health.may_call(now, queue):
            return None
        if health.standing == "up":
            taken = queue.take(self._may_pay)
        else:
            taken = queue.take_witness(health.tried, health.blamed, health.asked, self._may_pay)
        if taken is None:
            return None
        entry, lane = taken
        self.tally.begins(lane.upload_id)
        return Call(entry=entry, payer=lane.upload_id, probe=health.call_begins(lane.upload_id))

    def _may_pay(self, lane: Lane) -> bool:
        return self.tally.may_pay(lane.upload_id, self.fold.max_calls(lane.upload_id))

    def next_refused(self, now: datetime) -> list[Records]:
        """What fails some phones of an upload that has paid for as many calls as it may; none if there are no more.

        At most `REFUSED_AT_ONCE`: a cap can leave out a million phones. The rest waits, and hinders nobody.
        """
        queue = self.fold.queue
        if self.fold.paused:
            return []
        while (lane := queue.next_spent()) is not None and self._may_pay(lane):
            # A call that was not made is not spent, and a cap can be raised.
            queue.set_spent(lane, False)
        taken = queue.take_spent(REFUSED_AT_ONCE)
        if taken is None:
            return []
        lane, entries = taken
        return [self._refuse(entry, lane, self.clock.to_wall(now)) for entry in entries]

    def _refuse(self, entry: Entry, lane: Lane, now: datetime) -> Records:
        """A failure for this upload alone. Whoever else awaits the phone goes on waiting for it, and its history stays.

        Data that others pay for later still answers the upload's row: an answer beats a failure.
        """
        mine = entry.of(lane)
        history = self.fold.history(entry.phone)
        forget_retry = False
        if entry.has_only(lane):
            forget_retry = self._forget(entry.phone)
        else:
            history = history.accounted()
        history = history.failed(max_calls_error(self.fold.max_calls(lane.upload_id), now), counts=False)
        results = self._results(entry.phone, history, FAILED, now, asks=mine)
        return Records(entry.phone, results=results, forget_retry=forget_retry)

    def next_change_at(self) -> float | None:
        """When time alone may make another call possible, seconds since the epoch."""
        moments = [self.fold.queue.next_due_at()]
        probe_at = self.health.probe_at
        if probe_at is not None and not self.health.is_probing and self.fold.queue.has_callable:
            moments.append(probe_at.timestamp())
        return min((moment for moment in moments if moment is not None), default=None)

    def still_wanted(self, call: Call) -> bool:
        """Whether the call should be made now that its turn to be written has come."""
        if self.fold.paused or (self.health.standing != "up" and not call.probe):
            return False
        return any(lane.may_have_turns for lane in call.entry.lanes())

    def withdrawn(self, call: Call) -> None:
        """The call was not made: its phone, if still wanted, keeps its place."""
        self.tally.ends(call.payer, written=False)
        self._put_back(call)

    def _put_back(self, call: Call) -> None:
        self.fold.forgotten.discard(call.phone)
        self.health.not_called(probe=call.probe)
        self.fold.queue.release(call.entry)

    def replied(self, call: Call, reply: Reply, now: datetime, *, may_fail: bool) -> Records:
        """What a reply means. Without `may_fail` (the lease is lost) only what the provider said of the phone counts.

        A phone that is tried again is back in the queue at once; one with a result stays called until `finished`.
        """
        history = self.fold.history(call.phone)
        self.tally.ends(call.payer, written=call.written)
        if call.written:
            history = history.paid_by(call.payer)
        if isinstance(reply, Found | NotValid):
            self.health.answered(call.phone, probe=call.probe)
            told = Told("ok", reply.data) if isinstance(reply, Found) else Told("not_valid")
            return self._end_with(call.entry, history, told, now)
        if not may_fail:
            self._put_back(call)
            return Records(call.phone)
        return self._failed(call, history, reply, now)

    def settled(self, result: LookupResult, timestamp_ms: int) -> None:
        """The result is in the log: those whom it answers wait no more."""
        self.fold.settle(result, timestamp_ms)

    def finished(self, records: Records) -> bool:
        """All is in the log: whoever still wants the phone waits on. Whether the phone was forgotten meanwhile."""
        if not records.results or not records.ends_call:
            return False
        entry = self.fold.queue.entry(records.phone)
        if entry is not None and entry.stage is Stage.CALLED:
            self.fold.queue.release(entry)
        is_forgotten = records.phone in self.fold.forgotten
        self.fold.forgotten.discard(records.phone)
        return is_forgotten

    def next_orphan(self, now: datetime) -> Records | None:
        """What accounts for the calls of one phone that nobody wants any more."""
        while self.fold.erased:
            phone = next(iter(self.fold.erased))
            del self.fold.erased[phone]
            if phone not in self.fold.histories:
                return Records(phone, forget_retry=True)
        while self.fold.orphans:
            phone = next(iter(self.fold.orphans))
            del self.fold.orphans[phone]
            if self.fold.queue.entry(phone) is not None or phone not in self.fold.histories:
                continue
            is_accounted = self.fold.is_accounted(phone)
            history = self.fold.histories.pop(phone)
            self.health.settled(phone)
            if is_accounted:
                return Records(phone, forget_retry=True)
            wall = self.clock.to_wall(now)
            return Records(phone, results=self._results(phone, history, FAILED, wall), forget_retry=True)
        return None

    # -- failures

    def _failed(self, call: Call, history: History, reply: Wait | AccountProblem, now: datetime) -> Records:
        wall = self.clock.to_wall(now)
        error = AttemptError(
            error_class="account" if isinstance(reply, AccountProblem) else "wait",
            code=reply.code,
            detail=reply.detail,
            at=wall,
        )
        counts = self._blame.counts(call.entry, reply, now, written=call.written, probe=call.probe)
        history = history.failed(error, counts=counts)
        forgiven = self._blame.forgiven(call.phone, history)
        history = forgiven.pop(call.phone, history)
        records = self._after_failure(call, history, reply, now)
        self.fold.histories.update(forgiven)
        rewritten = (each.record(phone) for phone, each in forgiven.items() if each.retry_at is not None)
        return replace(records, retries=(*records.retries, *rewritten))

    def _after_failure(self, call: Call, history: History, reply: Wait | AccountProblem, now: datetime) -> Records:
        wall = self.clock.to_wall(now)
        if not call.entry.is_wanted:
            return self._abandoned(call, history, now)
        decision = decide(
            history,
            now=wall,
            max_attempts=self._max_attempts,
            jitter=self._random(),
            retry_after_seconds=reply.retry_after_seconds if isinstance(reply, Wait) else None,
            at_least_seconds=self._blame.patience_seconds(now),
        )
        if isinstance(decision, GiveUp):
            self.tally.dead_letters += 1
            letter = dead_letter_of(call.entry, history, wall)
            return replace(self._end_with(call.entry, history, FAILED, now), dead_letter=letter)
        return self._try_again(call, history.until(decision.at), wall)

    def _try_again(self, call: Call, history: History, wall: datetime) -> Records:
        self.tally.retried(call.payer)
        results: tuple[LookupResult, ...] = ()
        if history.has_many_payers:
            results = self._results(call.phone, history, FAILED, wall)
            history = history.accounted()
        self.fold.histories[call.phone] = history
        assert history.retry_at is not None
        self.fold.queue.back_off(call.entry, self.clock.to_steady(history.retry_at))
        return Records(call.phone, results=results, retries=(history.record(call.phone),), ends_call=False)

    # -- results

    def _end_with(self, entry: Entry, history: History, told: Told, now: datetime) -> Records:
        forget_retry = self._forget(entry.phone)
        if entry.phone in self.fold.forgotten:
            # Nothing that is known of it may be written again.
            self.fold.forgotten.discard(entry.phone)
            self.fold.queue.release(entry)
            return Records(entry.phone, forget_retry=forget_retry)
        results = self._results(entry.phone, history, told, self.clock.to_wall(now), asks=entry.asks)
        return Records(entry.phone, results=results, forget_retry=forget_retry)

    def _abandoned(self, call: Call, history: History, now: datetime) -> Records:
        """The call failed and nobody waits any more: only the account is settled."""
        if history.calls:
            return self._end_with(call.entry, history, FAILED, now)
        self.fold.forgotten.discard(call.phone)
        self.fold.queue.release(call.entry)
        return Records(call.phone, forget_retry=self._forget(call.phone))

    def _forget(self, phone: str) -> bool:
        """The phone's attempts are over. Whether there was a retry."""
        self.health.settled(phone)
        self.fold.orphans.pop(phone, None)
        return self.fold.histories.pop(phone, None) is not None

    def _results(
        self, phone: str, history: History, told: Told, wall: datetime, *, asks: tuple[Ask, ...] = ()
    ) -> tuple[LookupResult, ...]:
        return results_of(phone, history, told, wall, asks=asks, provider=self._provider)

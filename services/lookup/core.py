"""Decides which call is made next and what each reply means: results, retries, dead letters, pauses. Pure."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from schemas import topics
from schemas.codec import UndecodableRecord, decode
from schemas.lookups import (
    Answered,
    AttemptError,
    DeadLetter,
    LookupResult,
    LookupRetry,
    LookupStatus,
    Outcome,
    PhoneData,
)
from services.lookup.fold import Fold
from services.lookup.health import Health
from services.lookup.lanes import Ask, Entry, Lane, Stage
from services.lookup.providers.protocol import AccountProblem, Found, NotValid, Reply, Wait
from services.lookup.retries import GiveUp, History, decide
from services.lookup.tally import Tally


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


@dataclass(frozen=True, slots=True)
class Records:
    """What has to be written, in this order: dead letter, result; then, once those are acknowledged, retries.

    `forget_retry`: the phone's retry ends with a tombstone after the result.
    """

    phone: str
    dead_letter: DeadLetter | None = None
    result: LookupResult | None = None
    retries: tuple[LookupRetry, ...] = ()
    forget_retry: bool = False


class GateCore:
    """The gate without its clock, its sockets and its log.

    A call goes: `next_call`, then `withdrawn` if it was not made after all, or `replied`; when the records that
    `replied` asks for are acknowledged, `recorded`. What `next_call` refused to call waits in `next_refused`.
    """

    def __init__(self, *, provider: str, max_attempts: int, random: Callable[[], float]) -> None:
        self.fold = Fold()
        self.health = Health()
        self.tally = Tally()
        self._refused: deque[Records] = deque()
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
        self.tally.go_on_from(last)

    def next_call(self, now: datetime) -> Call | None:
        """The call to make now; None if there is none or none may be made. Its phone is called by nobody else."""
        self.fold.queue.advance(now)
        if self.fold.paused or not self.health.may_call(now):
            return None
        while (taken := self.fold.queue.take()) is not None:
            entry, lane = taken
            if self.tally.may_pay(lane.upload_id, self.fold.max_calls(lane.upload_id)):
                self.tally.begins(lane.upload_id)
                return Call(entry=entry, payer=lane.upload_id, probe=self.health.call_begins())
            self._refused.append(self._refuse(entry, lane, now))
        return None

    def next_refused(self) -> Records | None:
        """What fails a phone whose upload has paid for as many calls as it may; goes on with `recorded`."""
        return self._refused.popleft() if self._refused else None

    def _refuse(self, entry: Entry, lane: Lane, now: datetime) -> Records:
        """A failure for this upload alone. Whoever else awaits the phone goes on waiting for it, and its history stays.

        Data that others pay for later still answers the upload's row: an answer beats a failure.
        """
        mine = tuple(ask for ask in entry.asks if ask.lane is lane)
        history = self.fold.history(entry.phone)
        forget_retry = False
        if len(mine) == len(entry.asks):
            forget_retry = self.fold.histories.pop(entry.phone, None) is not None
        else:
            history = replace(history, calls=())
        error = AttemptError(
            error_class="wait",
            code="max_calls",
            detail=f"the upload had paid for all of its {self.fold.max_calls(lane.upload_id)} calls",
            at=now,
        )
        result = self._compose(entry.phone, history.failed(error, counts=False), "failed", now, asks=mine)
        return Records(entry.phone, result=result, forget_retry=forget_retry)

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
        return any(not ask.lane.paused for ask in call.entry.asks)

    def withdrawn(self, call: Call) -> None:
        """The call was not made: its phone, if still wanted, keeps its place."""
        self.tally.ends(call.payer, written=False)
        self._put_back(call)

    def _put_back(self, call: Call) -> None:
        self.health.not_called(probe=call.probe)
        self.fold.queue.release(call.entry)

    def replied(self, call: Call, reply: Reply, now: datetime, *, may_fail: bool) -> Records:
        """What a reply means. Without `may_fail` (the lease is lost) only what the provider said of the phone counts.

        A phone that is tried again is back in the queue at once; one with a result stays called until `recorded`.
        """
        history = self.fold.history(call.phone)
        self.tally.ends(call.payer, written=call.written)
        if call.written:
            history = history.paid_by(call.payer)
        if isinstance(reply, Found | NotValid):
            self.health.answered(call.phone, probe=call.probe)
            outcome: Outcome = "ok" if isinstance(reply, Found) else "not_valid"
            data = reply.data if isinstance(reply, Found) else None
            return self._result(call.entry, history, outcome, now, data=data)
        if not may_fail:
            self._put_back(call)
            return Records(call.phone)
        return self._failed(call, history, reply, now)

    def recorded(self, records: Records, timestamp_ms: int) -> None:
        """The result is in the log: those whom it answers are settled, anybody else's request waits on."""
        if records.result is None:
            return
        self.fold.settle(records.result, timestamp_ms)
        entry = self.fold.queue.entry(records.phone)
        if entry is not None and entry.stage is Stage.CALLED:
            self.fold.queue.release(entry)

    def next_orphan(self, now: datetime) -> Records | None:
        """What accounts for the calls of one phone that nobody wants any more."""
        while self.fold.orphans:
            phone = next(iter(self.fold.orphans))
            del self.fold.orphans[phone]
            if self.fold.queue.entry(phone) is not None or phone not in self.fold.histories:
                continue
            is_accounted = self.fold.is_accounted(phone)
            history = self.fold.histories.pop(phone)
            if is_accounted:
                return Records(phone, forget_retry=True)
            return Records(phone, result=self._account(phone, history, now), forget_retry=True)
        return None

    def _failed(self, call: Call, history: History, reply: Wait | AccountProblem, now: datetime) -> Records:
        error = AttemptError(
            error_class="account" if isinstance(reply, AccountProblem) else "wait",
            code=reply.code,
            detail=reply.detail,
            at=now,
        )
        counts = self._blame(call, reply, now)
        history = history.failed(error, counts=counts)
        forgiven = self._forgive(call.phone, history)
        history = forgiven.pop(call.phone, history)
        if not call.entry.asks:
            return self._abandoned(call, history, now)
        retry_after = reply.retry_after_seconds if isinstance(reply, Wait) else None
        decision = decide(
            history,
            now=now,
            max_attempts=self._max_attempts,
            jitter=self._random(),
            retry_after_seconds=retry_after,
        )
        if isinstance(decision, GiveUp):
            return self._give_up(call.entry, history, now)
        at = decision.at
        if self.health.standing == "account_problem" and self.health.probe_at is not None:
            # If there is another phone, that one is the next probe: it tells whether this one was to blame.
            at = max(at, self.health.probe_at + timedelta(seconds=1))
        self.tally.retried(call.payer)
        history = self.fold.histories[call.phone] = history.until(at)
        self.fold.queue.back_off(call.entry, at)
        return Records(call.phone, retries=(history.record(call.phone), *self._rewrite(forgiven)))

    def _blame(self, call: Call, reply: Wait | AccountProblem, now: datetime) -> bool:
        """Tells the provider's health; returns whether the attempt counts against the phone."""
        if isinstance(reply, AccountProblem) and self.health.refused_account(
            call.phone, now, probe=call.probe, error=reply.detail
        ):
            return False
        return self.health.failed(call.phone, now, probe=call.probe, error=reply.detail)

    def _forgive(self, phone: str, current: History) -> dict[str, History]:
        """The histories without the attempts for which the provider, not the phone, was to blame."""
        forgiven = {}
        for each, attempts in self.health.forgive().items():
            history = current if each == phone else self.fold.histories.get(each)
            if history is not None:
                forgiven[each] = history.forgiven(attempts)
        return forgiven

    def _rewrite(self, forgiven: dict[str, History]) -> tuple[LookupRetry, ...]:
        self.fold.histories.update(forgiven)
        return tuple(history.record(phone) for phone, history in forgiven.items() if history.retry_at is not None)

    def _give_up(self, entry: Entry, history: History, now: datetime) -> Records:
        self.tally.dead_letters += 1
        letter = DeadLetter(
            phone=entry.phone,
            requests=tuple(ask.request(entry.phone) for ask in entry.asks),
            attempts=history.attempts,
            errors=history.errors,
            original_topic=topics.LOOKUP_REQUESTS.name,
            original_partition=0,
            original_offset=entry.offset,
            given_up_at=now,
        )
        records = self._result(entry, history, "failed", now)
        return Records(entry.phone, dead_letter=letter, result=records.result, forget_retry=records.forget_retry)

    def _abandoned(self, call: Call, history: History, now: datetime) -> Records:
        """The call failed and nobody waits any more: only the account is settled."""
        forget_retry = self.fold.histories.pop(call.phone, None) is not None
        self.fold.orphans.pop(call.phone, None)
        if not history.calls:
            self.fold.queue.release(call.entry)
            return Records(call.phone, forget_retry=forget_retry)
        return Records(call.phone, result=self._account(call.phone, history, now), forget_retry=forget_retry)

    def _account(self, phone: str, history: History, now: datetime) -> LookupResult:
        return self._compose(phone, history, "failed", now, asks=())

    def _result(
        self, entry: Entry, history: History, outcome: Outcome, now: datetime, *, data: PhoneData | None = None
    ) -> Records:
        result = self._compose(entry.phone, history, outcome, now, asks=entry.asks, data=data)
        forget_retry = self.fold.histories.pop(entry.phone, None) is not None
        self.fold.orphans.pop(entry.phone, None)
        return Records(entry.phone, result=result, forget_retry=forget_retry)

    def _compose(
        self,
        phone: str,
        history: History,
        outcome: Outcome,
        now: datetime,
        *,
        asks: tuple[Ask, ...],
        data: PhoneData | None = None,
    ) -> LookupResult:
        return LookupResult(
            phone=phone,
            outcome=outcome,
            data=data,
            provider=self._provider,
            # Clocks may be skewed: an answer is never older than the question that it settles.
            looked_up_at=max([now, *(ask.wanted_at for ask in asks)]),
            attempts=history.attempts + (outcome != "failed"),
            error=history.errors[-1] if outcome == "failed" and history.errors else None,
            answers=tuple(Answered(upload_id=ask.upload_id, round=ask.round) for ask in asks),
            calls=history.calls,
        )

"""Decides which call is made next and what follows from each reply: a result, a retry, a dead letter, a pause. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from schemas.codec import UndecodableRecord, decode
from schemas.lookups import AttemptError, LookupResult, LookupStatus
from services.lookup.gate.call_outcome import (
    FAILED,
    CallOutcome,
    ProviderAnswer,
    dead_letter_of,
    max_calls_error,
    results_of,
)
from services.lookup.gate.clock import Clock
from services.lookup.gate.counters import CallCounters
from services.lookup.gate.failure_attribution import FailureAttribution
from services.lookup.gate.fold import Fold
from services.lookup.gate.lanes import Ask, Entry, Lane
from services.lookup.gate.provider_health import ProviderHealth
from services.lookup.gate.retries import GiveUp, History, decide
from services.lookup.providers.protocol import AccountProblem, Found, NotValid, Reply, Wait

REFUSED_AT_ONCE = 50
"""4 ms of work (measured), which delays a call that is due by no more."""


@dataclass(slots=True, eq=False)
class Call:
    """A lookup that was decided on. `payer` is the upload on whose turn it is made.

    `written`: its request may have reached the provider. `http_caller` sets it.
    """

    entry: Entry
    payer: str
    probe: bool
    written: bool = False

    @property
    def phone(self) -> str:
        return self.entry.phone


class CallScheduler:
    """The decisions of the gate, without sockets and Kafka. It takes steady times, and writes times of the wall clock.

    The steps of a call:

    1. `next_call` decides on it.
    2. `withdrawn` if it was not made after all, or else `replied`.
    3. `result_written` for each result of its outcome, once Kafka has acknowledged it.
    4. `finished` when all of its outcome is on the log.

    `next_refused` decides on the phones of an upload that may pay for no call. They continue with step 3.
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
        self.health = ProviderHealth()
        self.counters = CallCounters()
        self.last_status_ms = 0
        self._attribution = FailureAttribution(self.health, self.fold)
        self._provider = provider
        self._max_attempts = max_attempts
        self._random = random

    def take_over(self) -> None:
        """This process is the active gate from now on. It continues the counts of the gate before."""
        self.fold.take_over()
        try:
            last = decode(LookupStatus, self.fold.last_status)
        except UndecodableRecord:
            # There is no status yet, or another program wrote one. No call depends on these counts.
            return
        self.counters.resume_from(last, self.fold.controls.capped())
        self.last_status_ms = int(last.at.timestamp() * 1000)

    def end_uploads(self, now: datetime) -> Iterator[None]:
        """Ends the uploads that are over, step by step. Call it only after the log was read to its end."""
        now_ms = int(self.clock.to_wall(now).timestamp() * 1000)
        is_done = False
        while not is_done:
            is_done = True
            for upload_id in self.fold.end_next_upload(now_ms):
                is_done = False
                self.counters.forget(upload_id)
                yield

    # -- calls

    def next_call(self, now: datetime) -> Call | None:
        """The call to make now. None: there is none, or none may be made. Its phone has no other call meanwhile."""
        queue, health = self.fold.queue, self.health
        queue.advance(now)
        if self.fold.paused or not health.may_call(now, queue):
            return None
        if health.state == "up":
            taken = queue.take(self._may_pay)
        else:
            taken = queue.take_probe(health.failed_phones, health.common_uploads, health.last_probes, self._may_pay)
        if taken is None:
            return None
        entry, lane = taken
        self.counters.begins(lane.upload_id)
        return Call(entry=entry, payer=lane.upload_id, probe=health.call_begins(lane.upload_id))

    def _may_pay(self, lane: Lane) -> bool:
        return self.counters.may_pay(lane.upload_id, self.fold.max_calls(lane.upload_id))

    def next_refused(self, now: datetime) -> list[CallOutcome]:
        """The failures of phones whose upload has reached its limit of calls. Empty: there are no more of them.

        At most `REFUSED_AT_ONCE` at a time: a limit can leave out a million phones.
        """
        queue = self.fold.queue
        if self.fold.paused:
            return []
        while (lane := queue.next_spent()) is not None and self._may_pay(lane):
            # A call that was not made is not paid, and a limit can be raised.
            queue.set_spent(lane, False)
        taken = queue.take_spent(REFUSED_AT_ONCE)
        if taken is None:
            return []
        lane, entries = taken
        return [self._refuse(entry, lane, self.clock.to_wall(now)) for entry in entries]

    def _refuse(self, entry: Entry, lane: Lane, now: datetime) -> CallOutcome:
        """A failure for this upload alone. Other uploads go on waiting for the phone, and its history stays.

        Data that another upload pays for later still answers the row: data takes precedence over a failure.
        """
        mine = entry.of(lane)
        history = self.fold.histories.of(entry.phone)
        forget_retry = False
        if entry.has_only(lane):
            forget_retry = self._forget(entry.phone)
        else:
            history = history.accounted()
        history = history.failed(max_calls_error(self.fold.max_calls(lane.upload_id), now), counts=False)
        results = self._results(entry.phone, history, FAILED, now, asks=mine)
        return CallOutcome(entry.phone, results=results, forget_retry=forget_retry)

    def next_change_at(self) -> float | None:
        """When the next call may become possible without any event, seconds since the epoch. None: never."""
        moments = [self.fold.queue.next_due_at()]
        probe_at = self.health.probe_at
        if probe_at is not None and not self.health.is_probing and self.fold.queue.has_callable:
            moments.append(probe_at.timestamp())
        return min((moment for moment in moments if moment is not None), default=None)

    def still_wanted(self, call: Call) -> bool:
        """Whether the call should still be made, asked right before its request is written."""
        if self.fold.paused or (self.health.state != "up" and not call.probe):
            return False
        return any(lane.may_have_turns for lane in call.entry.lanes())

    def withdrawn(self, call: Call) -> None:
        """The call was not made. Its phone keeps its place if an upload still wants it."""
        self.counters.ends(call.payer, written=False)
        self._put_back(call)

    def _put_back(self, call: Call) -> None:
        self.health.not_called(probe=call.probe)
        self.fold.release(call.entry)

    def replied(self, call: Call, reply: Reply, now: datetime, *, may_fail: bool) -> CallOutcome:
        """Decides what follows from a reply. `may_fail` False (the lease is lost): a failure has no consequences.

        A phone that is tried again is back in the queue at once. A phone with a result stays called until `finished`.
        """
        history = self.fold.histories.of(call.phone)
        self.counters.ends(call.payer, written=call.written)
        if call.written:
            history = history.paid_by(call.payer)
        if isinstance(reply, Found | NotValid):
            self.health.answered(call.phone, probe=call.probe)
            answer = ProviderAnswer("ok", reply.data) if isinstance(reply, Found) else ProviderAnswer("not_valid")
            return self._end_with(call.entry, history, answer, now)
        if not may_fail:
            self._put_back(call)
            return CallOutcome(call.phone)
        return self._failed(call, history, reply, now)

    def result_written(self, result: LookupResult, timestamp_ms: int) -> None:
        """The result is on the log: the requests that it answers are done."""
        self.fold.apply_result(result, timestamp_ms)

    def finished(self, outcome: CallOutcome) -> bool:
        """All of the outcome is on the log. Returns whether the phone's data was erased meanwhile.

        The phone waits again if an upload still wants it.
        """
        return bool(outcome.results) and outcome.ends_call and self.fold.finish_call(outcome.phone)

    def next_orphan(self, now: datetime) -> CallOutcome | None:
        """What accounts for the calls of one phone that no upload wants any more. None: there are no more of them."""
        erased = self.fold.histories.take_erased()
        if erased is not None:
            return CallOutcome(erased, forget_retry=True)
        orphan = self.fold.take_orphan()
        if orphan is None:
            return None
        self.health.forget(orphan.phone)
        if self.fold.is_accounted(orphan.phone, orphan.history):
            return CallOutcome(orphan.phone, forget_retry=True)
        results = self._results(orphan.phone, orphan.history, FAILED, self.clock.to_wall(now))
        return CallOutcome(orphan.phone, results=results, forget_retry=True)

    # -- failures

    def _failed(self, call: Call, history: History, reply: Wait | AccountProblem, now: datetime) -> CallOutcome:
        wall = self.clock.to_wall(now)
        error = AttemptError(
            error_class="account" if isinstance(reply, AccountProblem) else "wait",
            code=reply.code,
            detail=reply.detail,
            at=wall,
        )
        counts = self._attribution.counts(call.entry, reply, now, written=call.written, probe=call.probe)
        history = history.failed(error, counts=counts)
        forgiven = self._attribution.forgiven(call.phone, history)
        history = forgiven.pop(call.phone, history)
        outcome = self._after_failure(call, history, reply, now)
        for phone, each in forgiven.items():
            self.fold.histories.remember(phone, each)
        rewritten = (each.to_retry(phone) for phone, each in forgiven.items() if each.retry_at is not None)
        return replace(outcome, retries=(*outcome.retries, *rewritten))

    def _after_failure(self, call: Call, history: History, reply: Wait | AccountProblem, now: datetime) -> CallOutcome:
        wall = self.clock.to_wall(now)
        if not call.entry.is_wanted:
            return self._abandoned(call, history, now)
        decision = decide(
            history,
            now=wall,
            max_attempts=self._max_attempts,
            jitter=self._random(),
            retry_after_seconds=reply.retry_after_seconds if isinstance(reply, Wait) else None,
            at_least_seconds=self._attribution.at_least_seconds(now),
        )
        if isinstance(decision, GiveUp):
            self.counters.dead_letters += 1
            letter = dead_letter_of(call.entry, history, wall)
            return replace(self._end_with(call.entry, history, FAILED, now), dead_letter=letter)
        return self._try_again(call, history.until(decision.at), wall)

    def _try_again(self, call: Call, history: History, wall: datetime) -> CallOutcome:
        self.counters.retried(call.payer)
        results: tuple[LookupResult, ...] = ()
        if history.has_many_payers:
            results = self._results(call.phone, history, FAILED, wall)
            history = history.accounted()
        self.fold.back_off(call.entry, history)
        return CallOutcome(call.phone, results=results, retries=(history.to_retry(call.phone),), ends_call=False)

    # -- results

    def _end_with(self, entry: Entry, history: History, answer: ProviderAnswer, now: datetime) -> CallOutcome:
        forget_retry = self._forget(entry.phone)
        if entry.phone in self.fold.erased_in_call:
            # Its data was erased during the call: nothing of it may be written again.
            self.fold.release(entry)
            return CallOutcome(entry.phone, forget_retry=forget_retry)
        results = self._results(entry.phone, history, answer, self.clock.to_wall(now), asks=entry.asks)
        return CallOutcome(entry.phone, results=results, forget_retry=forget_retry)

    def _abandoned(self, call: Call, history: History, now: datetime) -> CallOutcome:
        """The call failed and no upload waits for the phone any more: only its calls are accounted for."""
        if history.calls:
            return self._end_with(call.entry, history, FAILED, now)
        self.fold.release(call.entry)
        return CallOutcome(call.phone, forget_retry=self._forget(call.phone))

    def _forget(self, phone: str) -> bool:
        """The phone's attempts are over. Returns whether its retry needs a tombstone."""
        self.health.forget(phone)
        return self.fold.histories.end(phone)

    def _results(
        self, phone: str, history: History, answer: ProviderAnswer, wall: datetime, *, asks: tuple[Ask, ...] = ()
    ) -> tuple[LookupResult, ...]:
        return results_of(phone, history, answer, wall, asks=asks, provider=self._provider)

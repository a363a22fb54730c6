"""Starts calls: late, so that the order is decided late, but early enough that no slot goes unused."""

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine
from contextlib import suppress
from time import monotonic_ns
from typing import Protocol

from services.lookup.gate.limiter import Limiter
from services.lookup.gate.pacer import Admission, Withdrawn
from services.lookup.gate.recorder import Recorder
from services.lookup.gate.scheduler import Call, CallScheduler
from services.lookup.providers.protocol import LONGEST_RETRY_AFTER_SECONDS, Reply, Wait

LEAD_SECONDS = 0.25
"""How long before its permit a call is decided on: time to connect. A later command can still withdraw it."""
MOST_AHEAD = 8
MOST_IN_PROGRESS = 400
"""Below the usual limit of open files, in case a provider leaves every call unanswered."""
_LONGEST_WAIT_SECONDS = 1.0
log = logging.getLogger(__name__)


class Caller(Protocol):
    """Makes one call; see `HttpCaller.call`."""

    async def call(self, call: Call, admit: Callable[[], Admission], *, on_written: Callable[[], None]) -> Reply:
        """The reply, after `admit` let the request be written."""


class Dispatcher:
    """Runs each call as a task: it connects, waits for its permit, reads the reply and writes its outcome to Kafka."""

    def __init__(
        self,
        scheduler: CallScheduler,
        limiter: Limiter,
        caller: Caller,
        recorder: Recorder,
        *,
        rate: int,
        may_write: Callable[[], bool],
    ) -> None:
        self._scheduler = scheduler
        self._limiter = limiter
        self._caller = caller
        self._recorder = recorder
        self._may_write = may_write
        self._most_unacknowledged = 2 * rate
        self._unacknowledged = 0
        self._unwritten = 0
        self._is_stopping = False
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._crash: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake(self) -> None:
        """Something has changed that may let a call begin."""
        self._wake.set()

    async def run(self) -> None:
        """Starts calls until stopped. Raises the error of a call, which is always a bug."""
        while not self._is_stopping:
            self._wake.clear()
            self._start_calls()
            if self._crash.done():
                self._crash.result()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._pause_seconds())

    async def drain(self, timeout_seconds: float) -> None:
        """Starts no new call. Returns when all outcomes are on the log, or when the time is over."""
        self._is_stopping = True
        self.wake()
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=timeout_seconds)
            if left:
                log.warning("%d calls were still without a recorded answer when the gate stopped", len(left))

    def _start_calls(self) -> None:
        while self._has_capacity() and self._permit_is_near():
            call = self._scheduler.next_call(self._scheduler.clock.now())
            if call is None:
                self._recorder.look_for_refused()
                return
            self._begin(self._make(call, _WaitingCall(self)))

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _has_capacity(self) -> bool:
        ahead = min(MOST_AHEAD, max(1, math.ceil(LEAD_SECONDS * self._limiter.calls_per_second)))
        return (
            not self._is_stopping
            and self._may_write()
            and self._unwritten < ahead
            and len(self._tasks) < MOST_IN_PROGRESS
            and self._unacknowledged < self._most_unacknowledged
        )

    def _permit_is_near(self) -> bool:
        now = monotonic_ns()
        free_at = self._limiter.next_free_at(now)
        return free_at is not None and free_at - now <= LEAD_SECONDS * 1e9

    def _pause_seconds(self) -> float:
        """How long to sleep until a call may begin without any event. Each event wakes."""
        pauses = [_LONGEST_WAIT_SECONDS]
        change_at = self._scheduler.next_change_at()
        if change_at is not None:
            pauses.append(change_at - self._scheduler.clock.now().timestamp())
        if not self._permit_is_near():
            now = monotonic_ns()
            free_at = self._limiter.next_free_at(now)
            if free_at is not None:
                pauses.append((free_at - now) / 1e9 - LEAD_SECONDS)
        return max(0.001, min(pauses))

    def _admit(self, call: Call) -> Admission:
        if self._is_stopping or not self._may_write() or not self._scheduler.still_wanted(call):
            return Admission.DROP
        return Admission.GO if self._unacknowledged < self._most_unacknowledged else Admission.HOLD

    async def _make(self, call: Call, waiting: "_WaitingCall") -> None:
        """Makes one call.

        1. Let the caller make it. A call that is withdrawn ends here.
        2. Slow down if the provider asks for it.
        3. Decide what follows from the reply.
        4. Write it to Kafka.
        """
        # 1. Call.
        try:
            reply = await self._caller.call(call, lambda: self._admit(call), on_written=waiting.ends)
        except Withdrawn:
            waiting.ends()
            self._scheduler.withdrawn(call)
            return
        waiting.ends()
        # 2. Slow down.
        if isinstance(reply, Wait) and reply.throttled:
            self._slow_down(call, reply)
        self._unacknowledged += 1
        try:
            # 3. Decide.
            outcome = self._scheduler.replied(call, reply, self._scheduler.clock.now(), may_fail=self._may_write())
            # 4. Write.
            await self._recorder.write(outcome)
        finally:
            self._unacknowledged -= 1

    def _slow_down(self, call: Call, reply: Wait) -> None:
        """Uses fewer slots for a while. If several phones are throttled, pauses as the provider asked."""
        seconds = 0.0
        if self._scheduler.health.throttled(call.phone) and reply.retry_after_seconds is not None:
            seconds = min(reply.retry_after_seconds, LONGEST_RETRY_AFTER_SECONDS)
        self._limiter.throttled(monotonic_ns(), closed_for_ns=round(seconds * 1e9))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            # No code here cancels a call: a library's own cancellation escaped, and the call has no outcome.
            error: BaseException | None = RuntimeError("a call was cancelled")
        else:
            error = task.exception()
        if error is not None and not self._crash.done():
            self._crash.set_exception(error)
        self.wake()

    def begin_waiting(self) -> None:
        self._unwritten += 1

    def end_waiting(self) -> None:
        self._unwritten -= 1
        self.wake()


class _WaitingCall:
    """Counts a call among those that wait for their permits, until the first call of `ends`."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._lasts = True
        dispatcher.begin_waiting()

    def ends(self) -> None:
        if self._lasts:
            self._lasts = False
            self._dispatcher.end_waiting()

"""Starts calls: as late as possible, so that order is decided late, and early enough that no slot goes unused."""

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from time import monotonic_ns

from services.lookup.core import Call, GateCore
from services.lookup.gate_http import HttpCaller, Withdrawn
from services.lookup.gate_pacer import Verdict
from services.lookup.gate_records import Recorder
from services.lookup.limiter import Limiter
from services.lookup.providers.protocol import LONGEST_RETRY_AFTER_SECONDS, Wait

LEAD_SECONDS = 0.25
"""How long before its permit a call is decided on: time to connect. Later commands still withdraw it at the socket."""
MOST_AHEAD = 8
MOST_IN_PROGRESS = 400
"""Fewer than the files that a process may usually open, should a provider leave every call unanswered."""
_LONGEST_WAIT_SECONDS = 1.0
log = logging.getLogger(__name__)


class Dispatcher:
    """Every call is a task: connects, waits for its permit at the socket, and sees its reply into Kafka."""

    def __init__(
        self,
        core: GateCore,
        limiter: Limiter,
        caller: HttpCaller,
        recorder: Recorder,
        *,
        rate: int,
        may_write: Callable[[], bool],
    ) -> None:
        self._core = core
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
        """Something changed that may let a call begin."""
        self._wake.set()

    async def run(self) -> None:
        """Starts calls until stopped. Raises what a call raised, which only a bug can."""
        while not self._is_stopping:
            self._wake.clear()
            self._start_calls()
            if self._crash.done():
                self._crash.result()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._pause_seconds())

    async def drain(self, timeout_seconds: float) -> None:
        """No new call; returns when all replies are in Kafka, or the time is over."""
        self._is_stopping = True
        self.wake()
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=timeout_seconds)
            if left:
                log.warning("%d calls were still without a recorded answer when the gate stopped", len(left))

    def _start_calls(self) -> None:
        while self._has_room() and self._permit_is_near():
            call = self._core.next_call(datetime.now(UTC))
            while (refused := self._core.next_refused()) is not None:
                self._begin(self._recorder.write(refused))
            if call is None:
                return
            self._unwritten += 1
            self._begin(self._make(call))

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _has_room(self) -> bool:
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
        """Until time alone can let a call begin. Whatever else can, wakes."""
        pauses = [_LONGEST_WAIT_SECONDS]
        change_at = self._core.next_change_at()
        if change_at is not None:
            pauses.append(change_at - datetime.now(UTC).timestamp())
        if not self._permit_is_near():
            now = monotonic_ns()
            free_at = self._limiter.next_free_at(now)
            if free_at is not None:
                pauses.append((free_at - now) / 1e9 - LEAD_SECONDS)
        return max(0.001, min(pauses))

    def _judge(self, call: Call) -> Verdict:
        if self._is_stopping or not self._may_write() or not self._core.still_wanted(call):
            return Verdict.DROP
        return Verdict.GO if self._unacknowledged < self._most_unacknowledged else Verdict.HOLD

    async def _make(self, call: Call) -> None:
        try:
            reply = await self._caller.call(call, lambda: self._judge(call), on_written=self._written)
        except Withdrawn:
            self._unwritten -= 1
            self._core.withdrawn(call)
            return
        self._unwritten -= not call.written
        if isinstance(reply, Wait) and reply.throttled:
            self._slow_down(call, reply)
        self._unacknowledged += 1
        try:
            await self._recorder.write(self._core.replied(call, reply, datetime.now(UTC), may_fail=self._may_write()))
        finally:
            self._unacknowledged -= 1

    def _slow_down(self, call: Call, reply: Wait) -> None:
        """Fewer slots for a while; silence for as long as the provider asked, if it refuses more than one phone."""
        seconds = 0.0
        if self._core.health.throttled(call.phone) and reply.retry_after_seconds is not None:
            seconds = min(reply.retry_after_seconds, LONGEST_RETRY_AFTER_SECONDS)
        self._limiter.throttled(monotonic_ns(), closed_for_ns=round(seconds * 1e9))

    def _written(self) -> None:
        self._unwritten -= 1
        self.wake()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._crash.done():
            self._crash.set_exception(error)
        self.wake()

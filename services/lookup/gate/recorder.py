"""Writes each call's outcome, in the order that makes a crash harmless: results first, then tombstones."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from schemas.lookups import DeadLetter, LookupResult
from schemas.rows import BadRecord
from services.lookup.gate.call_outcome import CallOutcome, shorter, shorter_results
from services.lookup.gate.outgoing import Delivery, OutgoingRecord, Undeliverable
from services.lookup.gate.record_encoding import (
    bad_record,
    dead_letter_record,
    erasing_records,
    forget_retry_record,
    result_record,
    retry_record,
    tombstones,
)
from services.lookup.gate.scheduler import CallScheduler

_TOMBSTONES_PER_BATCH = 50
"""The producer takes 0.1 ms for each. No call can be written meanwhile."""
_IDLE_SECONDS = 0.5
MOST_BAD_RECORDS = 200
"""Each is up to 45 kB. Older ones are dropped: they were logged, and stay on their topic."""
log = logging.getLogger(__name__)


class RecordSink(Protocol):
    """Writes records to Kafka."""

    async def send(self, *records: OutgoingRecord) -> list[Delivery]:
        """Returns when each record is acknowledged or refused for good."""


class Recorder:
    """Writes the outcome of a call at once (`write`), and the tombstones of requests later in batches (`run`).

    1. Write the dead letter, if there is one: no other record holds its history.
    2. Write the results, one after the other. Each ends the requests that it answers once it is acknowledged.
    3. Write the retries, or the tombstone of the phone's retry.
    4. Write the tombstones of requests that are done. Until then a new gate finds these requests answered.

    A record that Kafka refuses for its size is written shorter. If the shortest is refused, its phone stays in state
    `CALLED`: it is not called, and paid, again.
    """

    def __init__(self, outbox: RecordSink, scheduler: CallScheduler, *, may_record: Callable[[], bool]) -> None:
        self._outbox = outbox
        self._scheduler = scheduler
        self._may_record = may_record
        self._wake = asyncio.Event()
        self._limit_reached = asyncio.Event()
        self._writing_tombstones = asyncio.Lock()
        self._bad_records: deque[BadRecord] = deque(maxlen=MOST_BAD_RECORDS)
        self.error: str | None = None

    async def write(self, outcome: CallOutcome) -> None:
        """Returns when all of the outcome is acknowledged, except the tombstones of requests."""
        # 1. The dead letter.
        if outcome.dead_letter is not None:
            await self._write_letter(outcome.dead_letter)
        # 2. The results.
        is_written = True
        for result in outcome.results:
            is_written = await self._write_result(result) and is_written
        if is_written and self._scheduler.finished(outcome):
            await self._outbox.send(*erasing_records(outcome.phone))
        # 3. The retries.
        rest = [retry_record(retry) for retry in outcome.retries]
        if outcome.forget_retry:
            rest.append(forget_retry_record(outcome.phone))
        if rest and self._may_record():
            await self._send(rest)

    def look_for_refused(self) -> None:
        """An upload may have reached its limit of calls."""
        self._limit_reached.set()

    def put_aside(self, record: BadRecord) -> None:
        """`run` writes the record to `bad-records`."""
        self._bad_records.append(record)
        self._wake.set()

    async def run(self) -> None:
        """While it may record: ends uploads that are over, writes tombstones, accounts for orphans' calls."""
        while True:
            self._wake.clear()
            if self._may_record():
                for _ in self._scheduler.end_uploads(self._scheduler.clock.now()):
                    await asyncio.sleep(0)
                # 4. The tombstones of requests.
                await self._write_tombstones()
                await self._account_for_orphans()
                await self._write_bad_records()
            if not self._scheduler.fold.pending_tombstones or not self._may_record():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), _IDLE_SECONDS)

    async def run_refusals(self) -> None:
        """Writes the failures of phones whose upload has reached its limit of calls, one batch at a time."""
        while True:
            self._limit_reached.clear()
            refused = self._scheduler.next_refused(self._scheduler.clock.now()) if self._may_record() else []
            if refused:
                await asyncio.gather(*(self.write(outcome) for outcome in refused))
            else:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._limit_reached.wait(), _IDLE_SECONDS)

    async def drain(self, timeout_seconds: float) -> None:
        """Writes the tombstones that are left, as far as time allows. The next gate writes the rest."""
        pending = self._scheduler.fold.pending_tombstones
        try:
            async with asyncio.timeout(timeout_seconds):
                while (self._writing_tombstones.locked() or pending) and self._may_record():
                    await self._write_tombstones()
        except TimeoutError:
            log.warning("%d tombstones are left to the next gate", len(pending))

    async def _write_letter(self, letter: DeadLetter) -> None:
        (delivery,) = await self._outbox.send(dead_letter_record(letter))
        if not isinstance(delivery, Undeliverable):
            return
        less = shorter(letter)
        if less is None:
            self._report("a dead letter", delivery)
        else:
            await self._write_letter(less)

    async def _write_result(self, result: LookupResult) -> bool:
        """Returns whether the whole result is on the log, in one record or in several."""
        (delivery,) = await self._outbox.send(result_record(result))
        if not isinstance(delivery, Undeliverable):
            self._scheduler.result_written(result, delivery)
            self._wake.set()
            return True
        parts = shorter_results(result)
        if not parts:
            self._report("a result", delivery)
            return False
        return all([await self._write_result(part) for part in parts])

    async def _write_tombstones(self) -> None:
        pending = self._scheduler.fold.pending_tombstones
        async with self._writing_tombstones:
            keys = pending.take(_TOMBSTONES_PER_BATCH)
            try:
                await self._send(tombstones(keys))
            except BaseException:
                pending.put_back(keys)
                raise

    async def _account_for_orphans(self) -> None:
        while self._may_record() and (outcome := self._scheduler.next_orphan(self._scheduler.clock.now())) is not None:
            await self.write(outcome)

    async def _write_bad_records(self) -> None:
        while self._bad_records and self._may_record():
            await self._send([bad_record(self._bad_records[0])])
            self._bad_records.popleft()

    async def _send(self, records: list[OutgoingRecord]) -> None:
        for delivery in await self._outbox.send(*records):
            if isinstance(delivery, Undeliverable):
                self._report("a record", delivery)

    def _report(self, what: str, refused: Undeliverable) -> None:
        self.error = f"Kafka refuses {what} for good: {refused.error}"
        log.error("%s", self.error)

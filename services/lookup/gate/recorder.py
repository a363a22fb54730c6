"""Writes what the core decided, in the order that makes a crash harmless: result first, then tombstones."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from typing import Protocol

from schemas.lookups import DeadLetter, LookupResult
from schemas.rows import BadRecord
from services.lookup.gate.decisions import GateCore
from services.lookup.gate.messages import (
    bad_record,
    dead_letter_record,
    erasing_records,
    forget_retry_record,
    result_record,
    retry_record,
    tombstones,
)
from services.lookup.gate.outcome_records import Records, shorter, shorter_results
from services.lookup.gate.outgoing import Outcome, Outgoing, Refused

_GRAVES_PER_BATCH = 50
"""Handing them to the producer takes 0.1 ms each, in which no call can be written."""
_IDLE_SECONDS = 0.5
MOST_BAD_RECORDS = 200
"""Each is up to 45 kB. What is beyond waits on its topic, and was logged."""
log = logging.getLogger(__name__)


class Sender(Protocol):
    """Where records go."""

    async def send(self, *records: Outgoing) -> list[Outcome]:
        """Returns when each is acknowledged, or refused for good."""


class Recorder:
    """Writes records of calls at once, tombstones in batches behind them.

    1. The dead letter, if any: history that nobody else holds.
    2. The results, one after the other. When one is acknowledged, whoever it answers is settled.
    3. The retries, or the phone's retry's tombstone.
    4. Tombstones of settled requests (`run`). Until then a new gate finds them answered by the result.

    What Kafka refuses for its size is written shorter. If the least is refused, its phone is not called again.
    """

    def __init__(self, outbox: Sender, core: GateCore, *, may_record: Callable[[], bool]) -> None:
        self._outbox = outbox
        self._core = core
        self._may_record = may_record
        self._graves = asyncio.Event()
        self._refusing = asyncio.Event()
        self._burying = asyncio.Lock()
        self._bad_records: deque[BadRecord] = deque(maxlen=MOST_BAD_RECORDS)
        self.error: str | None = None

    async def write(self, records: Records) -> None:
        """Returns when everything is acknowledged, tombstones of requests excepted."""
        if records.dead_letter is not None:
            await self._write_letter(records.dead_letter)
        is_written = True
        for result in records.results:
            is_written = await self._write_result(result) and is_written
        if is_written and self._core.finished(records):
            await self._outbox.send(*erasing_records(records.phone))
        rest = [retry_record(retry) for retry in records.retries]
        if records.forget_retry:
            rest.append(forget_retry_record(records.phone))
        if rest and self._may_record():
            await self._send(rest)

    def look_for_refused(self) -> None:
        """An upload may have paid for its last call."""
        self._refusing.set()

    def put_aside(self, record: BadRecord) -> None:
        """Writes the record to `bad-records` when its turn comes."""
        self._bad_records.append(record)
        self._graves.set()

    async def run(self) -> None:
        """Buries settled requests, accounts for withdrawn ones and ends uploads that are over, while it may record."""
        while True:
            self._graves.clear()
            if self._may_record():
                for _ in self._core.end_uploads(self._core.clock.now()):
                    await asyncio.sleep(0)
                await self._bury()
                await self._account()
                await self._write_bad_records()
            if not self._core.fold.graves or not self._may_record():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._graves.wait(), _IDLE_SECONDS)

    async def refuse_for_ever(self) -> None:
        """Fails phones of uploads that may pay for no call, some at a time: one batch of them is on its way at most."""
        while True:
            self._refusing.clear()
            refused = self._core.next_refused(self._core.clock.now()) if self._may_record() else []
            if refused:
                await asyncio.gather(*(self.write(records) for records in refused))
            else:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._refusing.wait(), _IDLE_SECONDS)

    async def drain(self, timeout_seconds: float) -> None:
        """Buries what is left, if it can be done in time; what is not, the next gate does."""
        try:
            async with asyncio.timeout(timeout_seconds):
                while (self._burying.locked() or self._core.fold.graves) and self._may_record():
                    await self._bury()
        except TimeoutError:
            log.warning("%d tombstones are left to the next gate", len(self._core.fold.graves))

    async def _write_letter(self, letter: DeadLetter) -> None:
        (outcome,) = await self._outbox.send(dead_letter_record(letter))
        if not isinstance(outcome, Refused):
            return
        less = shorter(letter)
        if less is None:
            self._complain("a dead letter", outcome)
        else:
            await self._write_letter(less)

    async def _write_result(self, result: LookupResult) -> bool:
        """Whether all of it is in the log, in one record or in several."""
        (outcome,) = await self._outbox.send(result_record(result))
        if not isinstance(outcome, Refused):
            self._core.settled(result, outcome)
            self._graves.set()
            return True
        parts = shorter_results(result)
        if not parts:
            self._complain("a result", outcome)
            return False
        return all([await self._write_result(part) for part in parts])

    async def _bury(self) -> None:
        graves = self._core.fold.graves
        async with self._burying:
            keys = list(islice(graves, _GRAVES_PER_BATCH))
            for key in keys:
                # Taken out first: the same request can come again, and be settled again, while this is sent.
                del graves[key]
            try:
                await self._send(tombstones(keys))
            except BaseException:
                graves.update(dict.fromkeys(keys))
                raise

    async def _account(self) -> None:
        while self._may_record() and (records := self._core.next_orphan(self._core.clock.now())) is not None:
            await self.write(records)

    async def _write_bad_records(self) -> None:
        while self._bad_records and self._may_record():
            await self._send([bad_record(self._bad_records[0])])
            self._bad_records.popleft()

    async def _send(self, records: list[Outgoing]) -> None:
        for outcome in await self._outbox.send(*records):
            if isinstance(outcome, Refused):
                self._complain("a record", outcome)

    def _complain(self, what: str, refused: Refused) -> None:
        self.error = f"Kafka refuses {what} for good: {refused.error}"
        log.error("%s", self.error)

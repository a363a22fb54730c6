"""Writes what the core decided, in the order that makes a crash harmless: result first, then tombstones."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice

from services.lookup.core import GateCore, Records
from services.lookup.gate_outbox import (
    Outbox,
    dead_letter_record,
    forget_retry_record,
    result_record,
    retry_record,
    tombstones,
)

_GRAVES_PER_BATCH = 50
"""Handing them to the producer takes 0.1 ms each, in which no call can be written."""
_IDLE_SECONDS = 0.5
log = logging.getLogger(__name__)


class Recorder:
    """Writes records of calls at once, tombstones in batches behind them.

    1. The dead letter, if any: history that nobody else holds.
    2. The result. When it is acknowledged, whoever it answers is settled.
    3. The retry, or its tombstone.
    4. Tombstones of settled requests (`run`). Until then a new gate finds them answered by the result.
    """

    def __init__(self, outbox: Outbox, core: GateCore, *, may_record: Callable[[], bool]) -> None:
        self._outbox = outbox
        self._core = core
        self._may_record = may_record
        self._graves = asyncio.Event()
        self._burying = asyncio.Lock()

    async def write(self, records: Records) -> None:
        """Returns when everything is acknowledged, tombstones of requests excepted."""
        if records.dead_letter is not None:
            await self._outbox.send(dead_letter_record(records.dead_letter))
        if records.result is not None:
            timestamp_ms = await self._outbox.send(result_record(records.result))
            self._core.recorded(records, timestamp_ms)
            self._graves.set()
        rest = [retry_record(retry) for retry in records.retries]
        if records.forget_retry:
            rest.append(forget_retry_record(records.phone))
        if rest and self._may_record():
            await self._outbox.send(*rest)

    async def run(self) -> None:
        """Buries settled requests and accounts for withdrawn ones, while this process leads."""
        while True:
            self._graves.clear()
            if self._may_record():
                await self._bury()
                await self._account()
            if not self._core.fold.graves or not self._may_record():
                try:
                    await asyncio.wait_for(self._graves.wait(), _IDLE_SECONDS)
                except TimeoutError:
                    continue

    async def drain(self, timeout_seconds: float) -> None:
        """Buries what is left, if it can be done in time; what is not, the next gate does."""
        try:
            async with asyncio.timeout(timeout_seconds):
                while (self._burying.locked() or self._core.fold.graves) and self._may_record():
                    await self._bury()
        except TimeoutError:
            log.warning("%d tombstones are left to the next gate", len(self._core.fold.graves))

    async def _bury(self) -> None:
        graves = self._core.fold.graves
        async with self._burying:
            keys = list(islice(graves, _GRAVES_PER_BATCH))
            for key in keys:
                # Taken out first: the same request can come again, and be settled again, while this is sent.
                del graves[key]
            try:
                await self._outbox.send(*tombstones(keys))
            except BaseException:
                graves.update(dict.fromkeys(keys))
                raise

    async def _account(self) -> None:
        while self._may_record() and (records := self._core.next_orphan(datetime.now(UTC))) is not None:
            await self.write(records)

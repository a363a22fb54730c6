"""Decides when this process is the active gate: it owns the partition, the old owner has stopped, the log is folded."""

import asyncio
import gc
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from aiokafka.errors import KafkaError

from schemas.rows import BadRecord
from services.lookup.gate.clock import boot_time
from services.lookup.gate.lease import Lease
from services.lookup.gate.recorder import MOST_BAD_RECORDS
from services.lookup.gate.scheduler import CallScheduler

_RETRY_SECONDS = 0.2
_SOON_SECONDS = 0.01
log = logging.getLogger(__name__)


class FoldedLog(Protocol):
    """The log, as the fold reads it."""

    async def catch_up(self) -> None:
        """Returns when all records are folded that the log held at the time of the call."""


class Leader:
    """Takes the lead, and gives it up.

    It leads once three conditions hold: it owns the partition, the previous owner's lease and window have passed, and
    it has then read the log to its end. It stops with the next rebalance. Each write needs a valid lease besides.
    """

    def __init__(
        self,
        scheduler: CallScheduler,
        lease: Lease,
        *,
        put_aside: Callable[[BadRecord], None],
        on_change: Callable[[], None],
        boot_time: Callable[[], float] = boot_time,
    ) -> None:
        self.leads = False
        self._scheduler = scheduler
        self._lease = lease
        self._put_aside = put_aside
        self._on_change = on_change
        self._boot_time = boot_time
        self._changed = asyncio.Event()
        self._bad_records: deque[tuple[int, BadRecord]] = deque(maxlen=MOST_BAD_RECORDS)

    def may_write(self) -> bool:
        """Whether a call, or anything but a paid answer, may be written now."""
        return self.leads and self._lease.may_write(self._boot_time())

    def lease_changed(self) -> None:
        """Call this after every change in the group."""
        if self.leads and not self._lease.is_owner():
            self.leads = False
            self._scheduler.fold.stand_by()
            log.info("this gate stands by")
        self._changed.set()
        self._on_change()

    def found_bad_record(self, record: BadRecord, timestamp_ms: int) -> None:
        """A record of that time cannot be processed. The process that leads puts it aside."""
        if self.leads:
            self._put_aside(record)
        else:
            self._bad_records.append((timestamp_ms, record))

    async def run(self, folded: FoldedLog) -> None:
        """Takes over each time that this process has become the owner of the partition."""
        while True:
            self._changed.clear()
            ready_at = self._lease.ready_at()
            if self.leads or ready_at is None:
                await self._changed.wait()
            elif (left := ready_at - self._boot_time()) > 0 or not self._lease.may_write(self._boot_time()):
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), max(left, _SOON_SECONDS))
            else:
                await self._take_over(folded)

    async def _take_over(self, folded: FoldedLog) -> None:
        """Leads afterwards, unless another process owns the partition by then.

        1. Fold the log up to its present end.
        2. Continue the counts of the gate before.
        3. End the uploads that are over, before any call: their pause or cancel may have expired on the log.
        4. Put aside the bad records that no gate has put aside.
        """
        assignment = self._lease.assignment
        # 1. Fold the log.
        try:
            await folded.catch_up()
        except KafkaError as error:
            log.warning("could not read to the end of the log: %s", type(error).__name__)
            await asyncio.sleep(_RETRY_SECONDS)
            return
        if self._lease.assignment != assignment:
            return
        # A full garbage collection of 300,000 phones takes 0.25 s, in which no call can be written. The folded state
        # is no garbage, so the collector leaves it out from now on.
        gc.freeze()
        # 2. Continue the counts.
        self._scheduler.take_over()
        # 3. End the uploads that are over.
        for _ in self._scheduler.end_uploads(self._scheduler.clock.now()):
            await asyncio.sleep(0)
        if self._lease.assignment != assignment:
            self._scheduler.fold.stand_by()
            return
        # 4. Put aside the bad records that are left.
        self._put_aside_bad_records()
        self.leads = True
        self._on_change()
        log.info("this gate is active")

    def _put_aside_bad_records(self) -> None:
        """Puts aside the records since the last status. The gate that wrote that status put aside the older ones."""
        for timestamp_ms, record in self._bad_records:
            if timestamp_ms > self._scheduler.last_status_ms:
                self._put_aside(record)
        self._bad_records.clear()

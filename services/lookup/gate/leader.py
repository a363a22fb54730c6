"""Decides when this process calls: it owns the partition, the one before it has stopped, and the log is folded."""

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
from services.lookup.gate.decisions import GateCore
from services.lookup.gate.lease import Lease
from services.lookup.gate.recorder import MOST_BAD_RECORDS

_RETRY_SECONDS = 0.2
_SOON_SECONDS = 0.01
log = logging.getLogger(__name__)


class Log(Protocol):
    """What is folded."""

    async def catch_up(self) -> None:
        """Returns when everything is folded that the log held at the time of the call."""


class Leader:
    """It leads when the partition is its own, the previous owner's time and window have passed, and it has then read
    the log to its end. It stops leading with the next rebalance. Each single write needs a valid lease besides.
    """

    def __init__(
        self,
        core: GateCore,
        lease: Lease,
        *,
        put_aside: Callable[[BadRecord], None],
        on_change: Callable[[], None],
        boot_time: Callable[[], float] = boot_time,
    ) -> None:
        self.leads = False
        self._core = core
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
        """To be called with every change in the group."""
        if self.leads and not self._lease.is_owner():
            self.leads = False
            self._core.fold.stand_by()
            log.info("this gate stands by")
        self._changed.set()
        self._on_change()

    def found_bad_record(self, record: BadRecord, timestamp_ms: int) -> None:
        """A record of that time cannot be worked on. Whoever leads puts it aside."""
        if self.leads:
            self._put_aside(record)
        else:
            self._bad_records.append((timestamp_ms, record))

    async def run(self, folded: Log) -> None:
        """Takes over whenever this process has become the partition's owner."""
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

    async def _take_over(self, folded: Log) -> None:
        """Leads from the end of this on, unless the partition went elsewhere meanwhile.

        1. Fold the log to the end that it has now.
        2. Go on counting from where the gate before stopped.
        3. End the uploads that are over, before anything is called: a pause or a cancel of theirs may have expired.
        """
        assignment = self._lease.assignment
        try:
            await folded.catch_up()
        except KafkaError as error:
            log.warning("could not read to the end of the log: %s", type(error).__name__)
            await asyncio.sleep(_RETRY_SECONDS)
            return
        if self._lease.assignment != assignment:
            return
        # A full collection takes as long as the backlog is large: 0.25 s at 300,000 phones, in which no call can be
        # written. What is folded by now stays, and is no garbage.
        gc.freeze()
        self._core.take_over()
        for _ in self._core.end_uploads(self._core.clock.now()):
            await asyncio.sleep(0)
        if self._lease.assignment != assignment:
            self._core.fold.stand_by()
            return
        self._put_aside_what_nobody_did()
        self.leads = True
        self._on_change()
        log.info("this gate is active")

    def _put_aside_what_nobody_did(self) -> None:
        """Records that came while no gate led. Those before the last status, the gate that wrote it has put aside."""
        for timestamp_ms, record in self._bad_records:
            if timestamp_ms > self._core.last_status_ms:
                self._put_aside(record)
        self._bad_records.clear()

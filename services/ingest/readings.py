"""Owns the readings of files that go on in the background, and those that are done and wait to be fed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from schemas.upload_events import UploadChecking, UploadEvent
from services.ingest.cases import Case
from services.ingest.checking import Reading, ask_for_known, checked_event, is_small, read_file, refused_event
from services.ingest.feeding import Outlet
from services.ingest.spool import NoRoom, Spool

SMALL_AT_ONCE = 4
LARGE_AT_ONCE = 2
"""Files read at the same time. A small one never waits for a large one."""
NO_ROOM_SECONDS = 15.0
log = logging.getLogger(__name__)

Tell = Callable[[UploadEvent], Awaitable[None]]


@dataclass(slots=True)
class Readings:
    """At most one reading per upload, named by its `check_id`.

    `tell` publishes an event and folds it; `wake` is called when a reading has ended.
    """

    outlet: Outlet
    spool: Spool
    tell: Tell
    wake: Callable[[], None]
    error: str | None = None
    _jobs: dict[str, tuple[str, "asyncio.Task[None]"]] = field(default_factory=dict)
    _done: dict[str, tuple[str, Path]] = field(default_factory=dict)
    _small: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(SMALL_AT_ONCE))
    _large: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(LARGE_AT_ONCE))

    @property
    def is_busy(self) -> bool:
        return bool(self._jobs)

    def uploads(self) -> set[str]:
        """The uploads of which there is a reading, done or not."""
        return {*self._jobs, *self._done}

    def folder(self, case: Case) -> Path | None:
        """Where the rows of a finished reading are; None while there is none."""
        check_id, folder = self._done.get(case.upload_id, ("", None))
        return folder if check_id == case.check_id else None

    def start(self, case: Case, group: asyncio.TaskGroup) -> None:
        """Begins to read an upload's file, unless that goes on already."""
        if case.upload_id not in self._jobs:
            job = group.create_task(self._read_with_patience(case))
            job.add_done_callback(lambda _: self.wake())
            self._jobs[case.upload_id] = (case.check_id, job)

    def drop_outdated(self, upload_id: str, case: Case | None) -> None:
        """Stops and forgets what the upload, as it is now, does not ask for. `case` None: it is over."""
        check_id, job = self._jobs.get(upload_id, ("", None))
        if job is not None and (case is None or case.check_id != check_id):
            job.cancel()
            del self._jobs[upload_id]
        if upload_id in self._done and (case is None or case.check_id != self._done[upload_id][0]):
            del self._done[upload_id]
        if case is None:
            self.spool.discard(upload_id)

    async def _read_with_patience(self, case: Case) -> None:
        """Tries until the disk has room: a full one is no fault of the file, and smaller files may still pass."""
        while True:
            try:
                reading = await (self._check(case) if case.checked is None else self._read_again(case))
                break
            except NoRoom:
                self.error = "the disk of SCRUB_DATA is full"
                log.error("upload %s cannot be read: %s", case.upload_id, self.error)  # noqa: TRY400
                self.spool.discard(case.upload_id)
                await asyncio.sleep(NO_ROOM_SECONDS)
        self.error = None
        del self._jobs[case.upload_id]
        if reading.prepared.refusal is None:
            self._done[case.upload_id] = (case.check_id, reading.folder)

    async def _check(self, case: Case) -> Reading:
        """Reads the file and tells what it is. The questions go first: once it is checked, all of them were asked."""
        async with self._turn_to_read(case):
            await self.tell(UploadChecking(upload_id=case.upload_id, at=self.outlet.now()))
            reading = await read_file(case, self.spool, settings=self.outlet.settings, detected=None)
        refusal = reading.prepared.refusal
        if refusal is None:
            await ask_for_known(case, reading.folder, outlet=self.outlet)
            await self.tell(checked_event(case, reading.prepared, now=self.outlet.now()))
        else:
            await self.tell(refused_event(case, refusal, now=self.outlet.now()))
        return reading

    async def _read_again(self, case: Case) -> Reading:
        """Reads a checked file once more, as it was read before, because its rows are no longer in the spool."""
        assert case.checked is not None
        async with self._turn_to_read(case):
            detected = case.checked.detected
            reading = await read_file(case, self.spool, settings=self.outlet.settings, detected=detected)
        if reading.prepared.refusal is not None:
            await self.tell(refused_event(case, reading.prepared.refusal, now=self.outlet.now()))
        return reading

    def _turn_to_read(self, case: Case) -> asyncio.Semaphore:
        return self._small if is_small(case) else self._large

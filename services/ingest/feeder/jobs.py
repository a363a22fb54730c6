"""Owns the readings of files that go on in the background, and those that are done and wait to be fed."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from aiokafka.errors import KafkaError

from schemas.upload_events import UploadChecking, UploadEvent
from services.ingest.feeder.check import Reading, ask_for_known, checked_event, is_small, read_file, refused_event
from services.ingest.feeder.feeding import Outlet
from services.ingest.feeder.preparation.outcome import Refusal
from services.ingest.feeder.spool import NoRoom, Spool
from services.ingest.feeder.trouble import Sizes, after
from services.ingest.feeder.turns import Turns
from services.ingest.feeder.upload_state import Case

SMALL_AT_ONCE = 4
LARGE_AT_ONCE = 2
"""Files read at the same time. A small one never waits for a large one."""
REFUSE_AGAIN_SECONDS = 1.0
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
    _jobs: dict[str, tuple[str, "asyncio.Task[None]"]] = field(default_factory=dict)
    _done: dict[str, tuple[str, Reading]] = field(default_factory=dict)
    _errors: dict[str, str] = field(default_factory=dict)
    _small: Turns = field(default_factory=lambda: Turns(SMALL_AT_ONCE))
    _large: Turns = field(default_factory=lambda: Turns(LARGE_AT_ONCE))

    @property
    def is_busy(self) -> bool:
        return bool(self._jobs)

    @property
    def error(self) -> str | None:
        """Why some upload cannot be read just now."""
        return next(iter(self._errors.values()), None)

    def uploads(self) -> set[str]:
        """The uploads of which there is a reading, done or not."""
        return {*self._jobs, *self._done}

    def of(self, case: Case) -> Reading | None:
        """The finished reading that the upload asks for; None while there is none."""
        check_id, reading = self._done.get(case.upload_id, ("", None))
        return reading if check_id == case.check_id else None

    def start(self, case: Case, group: asyncio.TaskGroup) -> None:
        """Begins to read an upload's file, unless that goes on already."""
        if case.upload_id not in self._jobs:
            job = group.create_task(self._work_on(case))
            job.add_done_callback(lambda _: self.wake())
            self._jobs[case.upload_id] = (case.check_id, job)

    def drop_outdated(self, upload_id: str, case: Case | None) -> None:
        """Stops and forgets what the upload, as it is now, does not ask for. `case` None: it is over."""
        check_id, job = self._jobs.get(upload_id, ("", None))
        if job is not None and (case is None or case.check_id != check_id):
            job.cancel()
            del self._jobs[upload_id]
            self._errors.pop(upload_id, None)
        if upload_id in self._done and (case is None or case.check_id != self._done[upload_id][0]):
            del self._done[upload_id]
        if case is None:
            self.spool.discard(upload_id)

    async def refuse(self, case: Case, refusal: Refusal) -> None:
        """Ends an upload with a reason, as soon as Kafka takes it."""
        while True:
            try:
                return await self.tell(refused_event(case, refusal, now=self.outlet.now()))
            except KafkaError as error:
                log.warning("upload %s cannot be refused yet: %s", case.upload_id, type(error).__name__)
                await asyncio.sleep(REFUSE_AGAIN_SECONDS)

    async def _work_on(self, case: Case) -> None:
        reading = await self._read_with_patience(case)
        self._errors.pop(case.upload_id, None)
        self._jobs.pop(case.upload_id, None)
        if reading is not None and reading.prepared.refusal is None:
            self._done[case.upload_id] = (case.check_id, reading)

    async def _read_with_patience(self, case: Case) -> Reading | None:
        """Reads the file, tries again what may pass later, and refuses the upload when it never will. None: refused."""
        times: Counter[type[Exception]] = Counter()
        while True:
            try:
                return await (self._check(case) if case.checked is None else self._read_again(case))
            except Exception as error:
                kind = KafkaError if isinstance(error, KafkaError) else type(error)
                times[kind] += 1
                decision = after(error, times=times[kind], sizes=Sizes(*self.spool.sizes(case.upload_id)))
                if isinstance(error, NoRoom):
                    self.spool.discard(case.upload_id)
                # The kind only: an exception's text may hold cells.
                log.error("upload %s cannot be read: %s", case.upload_id, type(error).__name__)  # noqa: TRY400
            if isinstance(decision, Refusal):
                await self.refuse(case, decision)
                return None
            self._errors[case.upload_id] = decision.error
            await asyncio.sleep(decision.seconds)

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
            await self.refuse(case, refusal)
        return reading

    async def _read_again(self, case: Case) -> Reading:
        """Reads a checked file once more, as it was read before, because its rows are no longer in the spool."""
        assert case.checked is not None
        async with self._turn_to_read(case):
            detected = case.checked.detected
            reading = await read_file(case, self.spool, settings=self.outlet.settings, detected=detected)
        if reading.prepared.refusal is not None:
            await self.refuse(case, reading.prepared.refusal)
        return reading

    def _turn_to_read(self, case: Case) -> AbstractAsyncContextManager[None]:
        return (self._small if is_small(case) else self._large).turn(case.opened.owner)

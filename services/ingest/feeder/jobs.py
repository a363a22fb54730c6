"""Owns the reader jobs in the background, and the prepared files that wait to be fed."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from aiokafka.errors import KafkaError

from schemas.upload_events import UploadChecking, UploadEvent
from services.ingest.feeder.check import (
    PreparedFile,
    checked_event,
    is_small,
    read_file,
    refused_event,
    send_plan_questions,
)
from services.ingest.feeder.failures import Sizes, decide
from services.ingest.feeder.fair_semaphore import FairSemaphore
from services.ingest.feeder.feeding import Outlet
from services.ingest.feeder.preparation.outcome import Refusal
from services.ingest.feeder.spool import DiskFull, Spool
from services.ingest.feeder.upload_state import FeederUpload

SMALL_AT_ONCE = 4
LARGE_AT_ONCE = 2
"""Most files that are read at the same time. A small one never waits for a large one."""
REFUSE_AGAIN_SECONDS = 1.0
log = logging.getLogger(__name__)

PublishEvent = Callable[[UploadEvent], Awaitable[None]]


@dataclass(slots=True)
class ReaderJobs:
    """At most one reader job for each upload, identified by its `check_id`.

    `publish_event` publishes an event and folds it. `on_finished` is called when a job has ended.
    """

    outlet: Outlet
    spool: Spool
    publish_event: PublishEvent
    on_finished: Callable[[], None]
    _jobs: dict[str, tuple[str, "asyncio.Task[None]"]] = field(default_factory=dict)
    _done: dict[str, tuple[str, PreparedFile]] = field(default_factory=dict)
    _errors: dict[str, str] = field(default_factory=dict)
    _small: FairSemaphore = field(default_factory=lambda: FairSemaphore(SMALL_AT_ONCE))
    _large: FairSemaphore = field(default_factory=lambda: FairSemaphore(LARGE_AT_ONCE))

    @property
    def is_busy(self) -> bool:
        return bool(self._jobs)

    @property
    def error(self) -> str | None:
        """Why an upload cannot be read at the moment; None if there is no such upload."""
        return next(iter(self._errors.values()), None)

    def uploads(self) -> set[str]:
        """The uploads with a running or a finished job."""
        return {*self._jobs, *self._done}

    def of(self, upload: FeederUpload) -> PreparedFile | None:
        """The prepared file of the upload's present `check_id`; None while there is none."""
        check_id, prepared_file = self._done.get(upload.upload_id, ("", None))
        return prepared_file if check_id == upload.check_id else None

    def start(self, upload: FeederUpload, group: asyncio.TaskGroup) -> None:
        """Start to read an upload's file, unless a job for it is running."""
        if upload.upload_id not in self._jobs:
            job = group.create_task(self._run(upload))
            job.add_done_callback(lambda _: self.on_finished())
            self._jobs[upload.upload_id] = (upload.check_id, job)

    def drop_outdated(self, upload_id: str, upload: FeederUpload | None) -> None:
        """Cancel and forget a job with another `check_id` than the upload's. `upload` None: the upload is over."""
        check_id, job = self._jobs.get(upload_id, ("", None))
        if job is not None and (upload is None or upload.check_id != check_id):
            job.cancel()
            del self._jobs[upload_id]
            self._errors.pop(upload_id, None)
        if upload_id in self._done and (upload is None or upload.check_id != self._done[upload_id][0]):
            del self._done[upload_id]
        if upload is None:
            self.spool.discard(upload_id)

    async def refuse(self, upload: FeederUpload, refusal: Refusal) -> None:
        """Publish the refusal of an upload. Retries until Kafka accepts it."""
        while True:
            try:
                return await self.publish_event(refused_event(upload, refusal, now=self.outlet.now()))
            except KafkaError as error:
                log.warning("upload %s cannot be refused yet: %s", upload.upload_id, type(error).__name__)
                await asyncio.sleep(REFUSE_AGAIN_SECONDS)

    async def _run(self, upload: FeederUpload) -> None:
        prepared_file = await self._read_with_retries(upload)
        self._errors.pop(upload.upload_id, None)
        self._jobs.pop(upload.upload_id, None)
        if prepared_file is not None and prepared_file.outcome.refusal is None:
            self._done[upload.upload_id] = (upload.check_id, prepared_file)

    async def _read_with_retries(self, upload: FeederUpload) -> PreparedFile | None:
        """Read the file with retries, as `failures.decide` says. Returns None after the upload was refused."""
        times: Counter[type[Exception]] = Counter()
        while True:
            try:
                return await (self._check(upload) if upload.checked is None else self._read_again(upload))
            except Exception as error:
                kind = KafkaError if isinstance(error, KafkaError) else type(error)
                times[kind] += 1
                decision = decide(error, times=times[kind], sizes=Sizes(*self.spool.sizes(upload.upload_id)))
                if isinstance(error, DiskFull):
                    self.spool.discard(upload.upload_id)
                # Only the type: an exception's text may hold cells.
                # A traceback may show data.
                log.error("upload %s cannot be read: %s", upload.upload_id, type(error).__name__)  # noqa: TRY400
            if isinstance(decision, Refusal):
                await self.refuse(upload, decision)
                return None
            self._errors[upload.upload_id] = decision.error
            await asyncio.sleep(decision.seconds)

    async def _check(self, upload: FeederUpload) -> PreparedFile:
        """Check the upload's file for the first time.

        1. The file is read; `UploadChecking` is published first.
        2. The plan questions are sent, all of them before the next step.
        3. `UploadChecked` is published, or `UploadRefused` if the file cannot be processed.
        """
        # 1. Read.
        async with self._reading_slot(upload):
            await self.publish_event(UploadChecking(upload_id=upload.upload_id, at=self.outlet.now()))
            prepared_file = await read_file(upload, self.spool, settings=self.outlet.settings, detected=None)
        refusal = prepared_file.outcome.refusal
        if refusal is None:
            # 2. Ask.
            await send_plan_questions(upload, prepared_file.folder, outlet=self.outlet)
            # 3. Announce.
            await self.publish_event(checked_event(upload, prepared_file.outcome, now=self.outlet.now()))
        else:
            await self.refuse(upload, refusal)
        return prepared_file

    async def _read_again(self, upload: FeederUpload) -> PreparedFile:
        """Read a checked file once more with the layout of its check, because its rows are no longer in the spool."""
        assert upload.checked is not None
        async with self._reading_slot(upload):
            detected = upload.checked.detected
            prepared_file = await read_file(upload, self.spool, settings=self.outlet.settings, detected=detected)
        if prepared_file.outcome.refusal is not None:
            await self.refuse(upload, prepared_file.outcome.refusal)
        return prepared_file

    def _reading_slot(self, upload: FeederUpload) -> AbstractAsyncContextManager[None]:
        return (self._small if is_small(upload) else self._large).slot(upload.opened.owner)

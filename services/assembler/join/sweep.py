"""Sweeps, each minute or when a person asks: publishes rows again that no part looks up, ends uploads that lack rows.

1. Read the waiting uploads, then the end of `upload-rows`.
2. Wait until the worker has processed those rows; then its requests are on `lookup-requests`.
3. Wait until a gate has folded those requests; then only phones that the gate holds will be looked up.
4. Wait until the results up to then are joined. A row that still waits, and is not held by the gate, is a zombie.
5. Judge the zombies by SQL: a row and its result may have come on two partitions, to two joins at the same time.
6. Publish the others again.

Only the join that owns partition 0 sweeps, for all uploads. A request is answered within a minute, even when a sweep
of the timer has just begun: each sweep waits for the other parts for `PATIENCE_SECONDS` in all.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime
from functools import partial

from aiokafka.errors import KafkaError

from schemas import topics
from schemas.interface import Sweep
from schemas.lookups import LookupStatus
from schemas.settings import Settings
from services.assembler.domain.positions import LEADING_PARTITION
from services.assembler.domain.stored import StoredUpload
from services.assembler.domain.zombies import figures, joined_up_to, lacking_for_good, uploads_held, zombie_uploads
from services.assembler.join.cluster_view import ClusterView, open_cluster_view
from services.assembler.join.database import Database
from services.assembler.join.republishing import ANY_ROUND, Republisher
from services.assembler.join.transaction.sweeping import end_without_rows, judge_waiting_rows
from services.assembler.store.join_reads import all_fences, uploads_lacking_rows, waiting_uploads
from services.assembler.store.sweeps import answer_requests, open_requests

EVERY_SECONDS = 60.0
LOOK_SECONDS = 1.0
PATIENCE_SECONDS = 20.0
"""The longest time that a sweep waits in all. Two sweeps, a running one and a requested one, take under a minute."""
log = logging.getLogger(__name__)


class SweepImpossible(Exception):
    """A part that the sweep waits for makes no progress; the text names it."""


class Patience:
    """The time that one sweep still waits for the other parts."""

    def __init__(self, seconds: float) -> None:
        self._deadline = asyncio.get_running_loop().time() + seconds

    async def until(self, reached: Callable[[], Awaitable[object]], otherwise: str) -> None:
        """Waits until `reached` is true.

        Raises:
            SweepImpossible: the time was over first, even while `reached` waited for a reply. Its text is `otherwise`.
        """
        try:
            async with asyncio.timeout_at(self._deadline):
                while not await reached():
                    await asyncio.sleep(LOOK_SECONDS / 4)
        except TimeoutError:
            raise SweepImpossible(otherwise) from None


class Sweeper:
    """Sweeps by timer and by request. `partitions`: those that this join owns at the moment."""

    def __init__(
        self,
        database: Database,
        republisher: Republisher,
        settings: Settings,
        *,
        partitions: Callable[[], Collection[int]],
        completed: Callable[[], None],
    ) -> None:
        self._database = database
        self._republisher = republisher
        self._settings = settings
        self._partitions = partitions
        self._completed = completed

    async def run(self) -> None:
        """Sweeps until cancelled."""
        loop = asyncio.get_running_loop()
        due_at = loop.time() + EVERY_SECONDS
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if LEADING_PARTITION not in self._partitions():
                continue
            asked = await self._database.read(partial(open_requests, now=datetime.now(UTC)))
            if asked or loop.time() >= due_at:
                await self._sweep_and_answer(asked)
                due_at = loop.time() + EVERY_SECONDS

    async def _sweep_and_answer(self, asked: list[str]) -> None:
        outcome: Sweep | str
        try:
            async with open_cluster_view(self._settings) as cluster:
                patience = Patience(PATIENCE_SECONDS)
                await self.end_uploads_lacking_rows(cluster, patience)
                outcome = await self.sweep(cluster, patience)
        except SweepImpossible as impossible:
            outcome = str(impossible)
        except KafkaError as error:
            outcome = f"Kafka did not answer ({type(error).__name__})."
        log.log(logging.INFO if asked else logging.DEBUG, "sweep: %s", outcome)
        if asked:
            now = datetime.now(UTC)
            await self._database.write(lambda connection: answer_requests(connection, asked, outcome, now=now))

    async def sweep(self, cluster: ClusterView, patience: Patience) -> Sweep:
        """One sweep over all uploads.

        Raises:
            SweepImpossible: worker, gate or join were not far enough in time, or the gate's status does not name all
                uploads of which it holds phones.
        """
        # 1. Read the waiting uploads.
        before = await self._database.read(waiting_uploads)
        if not before:
            return Sweep(examined=0, republished=0, completed=0, failed=0)
        status = await self._settled_status(cluster, patience)
        if uploads_held(status) is None:
            raise SweepImpossible("The gate holds phones of more uploads than its status can name.")
        after = await self._database.read(waiting_uploads)
        republished = 0
        for upload in zombie_uploads(before, after, status):
            # 5. Judge the zombies by SQL.
            await self._judge_again(upload)
            # 6. Publish the others again.
            rows = await self._republisher.publish(upload, below_round=ANY_ROUND)
            if rows:
                log.warning("upload %s: %d waiting rows were not in the queue; published again", upload.id, rows)
            republished += rows
        return figures(before, {upload.id: upload for upload in after}, republished=republished)

    async def _judge_again(self, upload: StoredUpload) -> None:
        """Gives the upload's waiting rows the results that SQL holds, in short transactions."""
        after_row: int | None = 0
        while after_row is not None:
            after_row, completed = await self._database.write(
                partial(judge_waiting_rows, upload=upload, after_row=after_row, settings=self._settings)
            )
            if completed:
                self._completed()

    async def _settled_status(self, cluster: ClusterView, patience: Patience) -> LookupStatus:
        """The gate's status after worker, gate and join have processed all rows that exist now (steps 2 to 4)."""
        event_ends = await cluster.ends(topics.UPLOAD_EVENTS)
        row_ends = await cluster.ends(topics.UPLOAD_ROWS)
        # 2. Wait for the worker.
        await patience.until(lambda: cluster.worker_reached(row_ends), "The lookup worker has not read all rows.")
        # 3. Wait for the gate.
        request_end = (await cluster.ends(topics.LOOKUP_REQUESTS))[0]
        await patience.until(lambda: cluster.gate_that_folded(request_end), "No gate has taken up all requests.")
        status = await cluster.gate_that_folded(request_end)
        assert status is not None, "a gate's folded offset never goes back"
        # 4. Wait for the join.
        result_ends = await cluster.ends(topics.LOOKUP_RESULTS)
        await patience.until(lambda: self._joined("upload_events", event_ends), "Not all events are joined yet.")
        await patience.until(lambda: self._joined("lookup_results", result_ends), "Not all results are joined yet.")
        return status

    async def end_uploads_lacking_rows(self, cluster: ClusterView, patience: Patience) -> None:
        """Ends uploads of which fewer rows came than were fed, once all rows that the logs hold are joined."""
        before = await self._database.read(uploads_lacking_rows)
        if not before:
            return
        for topic, name in ((topics.UPLOAD_ROWS, "upload_rows"), (topics.REJECTED_ROWS, "rejected_rows")):
            ends = await cluster.ends(topic)
            await patience.until(partial(self._joined, name, ends), "Not all rows are joined yet.")
        after = await self._database.read(uploads_lacking_rows)
        for upload in lacking_for_good(before, after, now=datetime.now(UTC)):
            log.error("upload %s: %s rows were fed, %d came", upload.id, upload.fed_rows, upload.stored_rows)
            await self._database.write(partial(end_without_rows, upload=upload, settings=self._settings))
            self._completed()

    async def _joined(self, topic: str, ends: dict[int, int]) -> bool:
        return joined_up_to(await self._database.read(all_fences), ends, topic)

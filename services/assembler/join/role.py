"""Runs the join: reads five topics, joins them in SQL, publishes progress and completion events.

1. Fetch records of the partitions that this join owns.
2. Join them in one SQL transaction, which also moves the fences. Records that cannot be joined are put aside.
3. Fetch the next records only then. Other loops publish completion events and progress from SQL.

All loops wait for a database that fails. Any other failure of a loop ends the process.
"""

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

from aiokafka import AIOKafkaProducer
from aiokafka.errors import IllegalStateError, KafkaError

from schemas.parts import PartState
from schemas.settings import Settings
from services.assembler.domain.positions import LogLost
from services.assembler.join.batches import Batches
from services.assembler.join.cluster import check_topics, look_at_cluster
from services.assembler.join.completions import CompletionPublisher, published_completions
from services.assembler.join.consumer import JoinConsumer
from services.assembler.join.database import Database
from services.assembler.join.progress import ProgressPublisher
from services.assembler.join.republishing import Republisher, RoundPublisher
from services.assembler.join.retention import Retention
from services.assembler.join.sending import ShorteningSender
from services.assembler.join.sweep import Sweeper
from services.assembler.join.transaction.rows import RowsAppeared
from services.assembler.join.transaction.transaction import Joiner
from services.assembler.store.connections import Connection, DatabaseError, cause_of
from services.assembler.store.dialect import connect, is_failure_of_database
from services.assembler.store.fences import FenceLost
from services.assembler.store.lock import DatabaseInUse, only_writer
from services.assembler.store.meta import WrongDatabase, bind_to_cluster, cluster_of, prepare
from services.assembler.store.outbox import remember_published
from services.runtime.heartbeat import Heartbeat, PartHealth
from services.runtime.kafka import make_producer, started
from services.runtime.process import RefusedToStart

RETRY_SECONDS = 1.0
SLOW_SECONDS = 30.0
"""A transaction that takes longer is shown. No batch of records takes as long; the end of a large upload may."""
PROBLEM_SECONDS = 10.0
"""How long a failure is shown after it was last seen. While the database is away, it is seen each second."""
SMALL_BATCH = 100
SECONDS_BETWEEN_SMALL_BATCHES = 0.04
"""A transaction costs about 3 ms of CPU however small it is: one for each of 250 results a second took a whole core."""
LEAVE_SECONDS = 8.0
CANCEL_SECONDS = 1.0
NEW_OBJECTS_PER_COLLECTION = 50_000
"""A batch makes thousands of tuples and no cycles. Python's default spent a quarter of the time on collecting."""
log = logging.getLogger(__name__)


async def main(settings: Settings, stop: asyncio.Event) -> None:
    """Runs until `stop`.

    Raises:
        RefusedToStart: the database is in use or belongs to another cluster, or Kafka lost records not yet read.
    """
    gc.set_threshold(NEW_OBJECTS_PER_COLLECTION, 10, 10)
    with _refusals():
        await _ending_in_time(asyncio.create_task(_work(settings, stop)), stop)


async def _work(settings: Settings, stop: asyncio.Event) -> None:
    async with AsyncExitStack() as stack:
        with _database_refusals():
            stack.enter_context(only_writer(settings.database_url))
            database = Database(connect(settings.database_url))
            stack.callback(database.close)
            epoch = await database.run(prepare, database.engine)
        await _bind(database, settings)
        producer = await stack.enter_async_context(started(make_producer(settings)))
        process = JoinProcess(settings, database, producer, epoch=epoch)
        await stack.enter_async_context(Heartbeat(producer, settings, role="join", health=lambda: process.health))
        await process.run(stop)


async def _ending_in_time(work: asyncio.Task[None], stop: asyncio.Event) -> None:
    """Waits for the work; after `stop` only for some seconds, since each client waits for a broker that is away."""
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({work}, timeout=LEAVE_SECONDS)
    finally:
        stopped.cancel()
        while not work.done():
            work.cancel()
            await asyncio.wait({work}, timeout=CANCEL_SECONDS)
    if not work.cancelled():
        work.result()


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except (DatabaseInUse, WrongDatabase, LogLost) as refusal:
        raise RefusedToStart(str(refusal)) from refusal


@contextmanager
def _database_refusals() -> Iterator[None]:
    try:
        yield
    except (OSError, DatabaseError) as error:
        reason = cause_of(error)
        raise RefusedToStart(
            f"The database cannot be opened ({str(reason).strip().splitlines()[0]}): check SCRUB_DATABASE, or the"
            " folder SCRUB_DATA if it is not set."
        ) from error


async def _bind(database: Database, settings: Settings) -> None:
    """Binds the database to Kafka's cluster. A new database also learns which completion events were published."""
    cluster = await look_at_cluster(settings)
    check_topics(cluster, settings)
    known = await database.read(cluster_of)
    published = [] if known else await published_completions(settings)

    def bind(connection: Connection) -> None:
        bind_to_cluster(connection, cluster.id)
        remember_published(connection, published)

    await database.write(bind)


class JoinProcess:
    """The running join: one loop that joins, others that publish."""

    def __init__(self, settings: Settings, database: Database, producer: AIOKafkaProducer, *, epoch: str) -> None:
        self._settings = settings
        self._database = database
        self._producer = producer
        joiner = Joiner(database.engine, settings)
        self._consumer = JoinConsumer(settings, database, take_over=joiner.take_over)
        self._batches = Batches(database, joiner, producer, settings, self._consumer)
        owned = lambda: self._consumer.partitions  # noqa: E731 - two loops take the same small question
        self._progress = ProgressPublisher(database, producer, settings, epoch=epoch, partitions=owned)
        self._completion_sender, self._row_sender = ShorteningSender(settings), ShorteningSender(settings)
        self._completions = CompletionPublisher(database, self._completion_sender, settings, partitions=owned)
        republisher = Republisher(database, self._row_sender, settings)
        self._rounds = RoundPublisher(
            database, republisher, partitions=owned, everything_joined=self._consumer.everything_joined
        )
        self._sweeper = Sweeper(database, republisher, settings, partitions=owned, completed=self._completions.wake)
        self._retention = Retention(database, settings, partitions=owned)
        self._problem = ""
        self._problem_at = -PROBLEM_SECONDS

    @property
    def health(self) -> PartHealth:
        state: PartState = "running" if self._consumer.caught_up else "starting"
        problem = self._present_problem()
        if problem is not None:
            state = "stuck"
        return PartHealth(state=state, active=bool(self._consumer.partitions), error=problem)

    def _present_problem(self) -> str | None:
        busy_seconds = self._database.busy_seconds()
        if busy_seconds > SLOW_SECONDS:
            return f"the database has not answered for {busy_seconds:.0f} s"
        return self._problem if time.monotonic() - self._problem_at < PROBLEM_SECONDS else None

    async def run(self, stop: asyncio.Event) -> None:
        """Joins and publishes until `stop`.

        Raises:
            Exception: one of the loops failed; the others were ended.
        """
        async with self._completion_sender, self._row_sender, _consuming(self._consumer):
            loops = (self._progress, self._completions, self._rounds, self._sweeper, self._retention)
            publishing = (self._patiently(loop.run) for loop in loops)
            await _until_one_ends(self._join_until(stop), self._database.watch(), *publishing)

    async def _patiently(self, run: Callable[[], Awaitable[None]]) -> None:
        """Runs a loop, and runs it again after each failure of the database, which is away or busy."""
        while True:
            try:
                return await run()
            except DatabaseError as error:
                if not is_failure_of_database(error):
                    raise
                await self._wait_for_database(error)

    async def _join_until(self, stop: asyncio.Event) -> None:
        clock = asyncio.get_running_loop().time
        while not stop.is_set():
            began = clock()
            count = await self._join_some()
            if 0 < count < SMALL_BATCH:
                await asyncio.sleep(max(0.0, began + SECONDS_BETWEEN_SMALL_BATCHES - clock()))

    async def _join_some(self) -> int:
        """Joins the next records; returns how many were fetched. Goes back to SQL's positions after a rollback."""
        try:
            # 1. Fetch records.
            generation, records = await self._consumer.records()
            # 2. Join them in one transaction.
            if records:
                completed = await self._batches.join(generation, records)
            else:
                completed = await self._join_gaps()
        except (FenceLost, RowsAppeared) as lost:
            log.warning("%s", lost)
            self._consumer.take_over_again()
        except DatabaseError as error:
            if not is_failure_of_database(error):
                raise
            await self._wait_for_database(error)
            self._consumer.take_over_again()
        else:
            # 3. Fetch the next records only now; let the other loop publish.
            if completed:
                self._completions.wake()
            return sum(len(batch) for by_topic in records.values() for batch in by_topic.values())
        return 0

    async def _join_gaps(self) -> bool:
        """For when no record came: joins offsets without a record, and looks for a stall."""
        try:
            gaps = await self._consumer.gaps()
            completed = await self._batches.join_decoded(gaps) if gaps else False
            await self._consumer.check_for_stall()
        except IllegalStateError:
            log.debug("partitions were revoked while their positions were read")
        except KafkaError as error:
            log.warning("Kafka does not answer (%s); waiting for it", type(error).__name__)
        else:
            return completed
        return False

    async def _wait_for_database(self, error: DatabaseError) -> None:
        """Waits a moment, then the caller tries the same again: a busy, full or absent database wrote nothing."""
        cause = cause_of(error)
        self._problem, self._problem_at = f"the database failed: {type(cause).__name__}", time.monotonic()
        log.error("%s; trying again", self._problem)
        await asyncio.sleep(RETRY_SECONDS)


async def _until_one_ends(*loops: Coroutine[None, None, None]) -> None:
    """Runs all loops. When one ends, it cancels the others and raises the error of the one that ended."""
    tasks = [asyncio.create_task(loop) for loop in loops]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in ended:
        task.result()


@asynccontextmanager
async def _consuming(consumer: JoinConsumer) -> AsyncIterator[None]:
    await consumer.start()
    try:
        yield
    finally:
        await consumer.stop()

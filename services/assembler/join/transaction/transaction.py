"""Owns the join's transaction: all changes that some records make, and the offsets up to which they were read.

1. Take the fences of the partitions by compare-and-set.
2. Take the turn: alone for events and erasures, which concern rows of any partition, else beside other joins.
3. Open the uploads that the records name.
4. Join events, results, rows, rejected rows and plan questions. Any order gives the same state.
5. Count into the uploads, in id order, and decide which are complete.
6. Commit: data, offsets and completion events are stored together or not at all.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from schemas.settings import Settings
from schemas.upload_events import NO_UPLOAD
from services.assembler.domain.answers import CandidateCache
from services.assembler.domain.decoding import PartitionBatch
from services.assembler.domain.positions import Offsets
from services.assembler.join.transaction.closing import close_uploads
from services.assembler.join.transaction.erasure import Erasures
from services.assembler.join.transaction.events import join_events
from services.assembler.join.transaction.plan import join_questions
from services.assembler.join.transaction.results import join_results
from services.assembler.join.transaction.rows import RowsAppeared, join_rejected, join_rows
from services.assembler.join.transaction.work import Work
from services.assembler.store.connections import Connection, DatabaseError, Engine
from services.assembler.store.dialect import for_writing, may_succeed_at_once, take_turn
from services.assembler.store.fences import create_fences, load_fences, take_fences

MOST_ATTEMPTS = 10
"""Attempts of a transaction that loses to others. The last failure is raised as the database's."""


def _now() -> datetime:
    return datetime.now(UTC)


class Joiner:
    """Joins decoded batches into the database. Not safe for use by two threads at once."""

    def __init__(self, engine: Engine, settings: Settings, *, clock: Callable[[], datetime] = _now) -> None:
        self._engine = for_writing(engine)
        self._settings = settings
        self._clock = clock
        self._cache = CandidateCache()

    def take_over(self, partitions: Sequence[int]) -> dict[int, Offsets]:
        """The fences of partitions that were just assigned. A partition that was never read begins at offset 0."""
        self._cache.clear()
        with self._engine.begin() as connection:
            create_fences(connection, partitions)
            return load_fences(connection, partitions)

    def join(self, batches: Sequence[PartitionBatch]) -> bool:
        """Joins the batches in one transaction; returns whether it wrote a completion event.

        Raises:
            FenceLost: another join owns one of the partitions now; nothing was written.
        """
        for _ in range(MOST_ATTEMPTS - 1):
            try:
                return self._attempt(batches)
            except RowsAppeared:
                continue
            except DatabaseError as error:
                if not may_succeed_at_once(error):
                    raise
        return self._attempt(batches)

    def _attempt(self, batches: Sequence[PartitionBatch]) -> bool:
        try:
            # 6. Commit, at the end of the block.
            with self._engine.begin() as connection:
                return self._join(connection, batches)
        except BaseException:
            # The cache holds results of the transaction, which was rolled back.
            self._cache.clear()
            raise

    def _join(self, connection: Connection, batches: Sequence[PartitionBatch]) -> bool:
        # 1. Take the fences.
        take_fences(connection, {batch.partition: (batch.start, batch.end) for batch in batches})
        # 2. Take the turn.
        take_turn(connection, alone=any(batch.events or _erases(batch) for batch in batches))
        # 3. Open the uploads.
        work = Work(connection, self._cache, self._clock())
        work.open(_named_uploads(batches))
        # 4. Join.
        erasures = Erasures(connection, self._settings.hash_key.get_secret_value().encode())
        join_events(work, batches, max_age_seconds=self._settings.max_age_seconds)
        join_results(work, batches, erasures)
        join_rows(work, batches, erasures)
        join_rejected(work, batches)
        join_questions(work, batches)
        # 5. Count and decide.
        return close_uploads(work, self._settings)


def _erases(batch: PartitionBatch) -> bool:
    return any(placed.result is None for placed in batch.results)


def _named_uploads(batches: Sequence[PartitionBatch]) -> set[str]:
    """Uploads that get events, rows, calls or answers to plan questions."""
    named: set[str] = set()
    for batch in batches:
        named.update(event.upload_id for _, event in batch.events if event.upload_id != NO_UPLOAD)
        named.update(row.upload_id for row in batch.rows)
        named.update(row.upload_id for row in batch.rejected)
        named.update(timed.question.upload_id for timed in batch.questions)
        for placed in batch.results:
            if placed.result is not None:
                named.update(paid.upload_id for paid in placed.result.calls)
    return named

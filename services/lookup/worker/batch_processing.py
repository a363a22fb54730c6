"""Processes a batch of records so that no record can stop it: a record that cannot be processed is put aside."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from aiokafka import ConsumerRecord
from aiokafka.errors import KafkaError

from schemas.codec import UndecodableRecord
from schemas.rows import BadReason
from services.lookup.worker.inbox import Batch
from services.lookup.worker.outputs import Outputs, UnprocessableRecord
from services.lookup.worker.phones_table import TableError
from services.lookup.worker.publishing import REFUSED_FOR_SIZE
from services.lookup.worker.read_progress import ReadProgress
from services.runtime.halves import Culprit, find_by_halves

R = TypeVar("R")


async def process_batch(
    batch: Batch,
    *,
    read: Callable[[ConsumerRecord], R],
    attempt: Callable[[Sequence[R]], Awaitable[None]],
    outputs: Outputs,
    progress: ReadProgress,
) -> None:
    """Returns when each record of the batch is processed or put aside.

    1. Decode each record with `read`.
    2. Process the decoded records, in order, with `attempt`. If it fails, the batch is tried again by halves.
    3. Put aside the records that could not be decoded or processed.

    `attempt` gets neighbouring records and may be repeated with the same ones. `progress` counts the attempts.

    Raises:
        KafkaError, TableError, OSError: no record is the cause. The process must end, and start again at its last
            commit.
    """
    # 1. Decode.
    readable: list[ConsumerRecord] = []
    items: list[R] = []
    aside: list[UnprocessableRecord] = []
    for record in batch:
        try:
            items.append(read(record))
        except UndecodableRecord as error:
            aside.append(UnprocessableRecord(record, "undecodable", str(error)))
        else:
            readable.append(record)

    # 2. Process.
    async def counted_attempt(some: Sequence[R]) -> None:
        # A batch full of culprits takes two attempts for each record. That is slow, but not stuck.
        progress.attempted()
        await attempt(some)

    if items:
        culprits = await find_by_halves(items, counted_attempt, is_environment=is_environment)
        aside += [_culprit(readable[culprit.index], culprit) for culprit in culprits]
    # 3. Put aside.
    await outputs.put_aside(aside)


def is_environment(error: Exception) -> bool:
    """Whether Kafka, the table or the machine failed, as opposed to the work on one record."""
    if isinstance(error, REFUSED_FOR_SIZE):
        return False
    return isinstance(error, KafkaError | TableError | OSError | MemoryError)


def _culprit(record: ConsumerRecord, culprit: Culprit) -> UnprocessableRecord:
    reason: BadReason = "too_large" if isinstance(culprit.error, REFUSED_FOR_SIZE) else "failed"
    # Only the type: the text may hold values of the record.
    return UnprocessableRecord(record, reason, type(culprit.error).__name__)

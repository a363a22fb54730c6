"""Works through a batch of records so that no record can end it: what cannot be worked on is put aside."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from aiokafka import ConsumerRecord
from aiokafka.errors import KafkaError

from schemas.codec import UndecodableRecord
from schemas.rows import BadReason
from services.lookup.worker.inbox import Batch
from services.lookup.worker.outputs import Outputs, PutAside
from services.lookup.worker.phones_table import TableError
from services.lookup.worker.publishing import REFUSED_FOR_SIZE
from services.lookup.worker.read_progress import Progress
from services.runtime.halves import Culprit, find_by_halves

R = TypeVar("R")


async def work_through(
    batch: Batch,
    *,
    read: Callable[[ConsumerRecord], R],
    attempt: Callable[[Sequence[R]], Awaitable[None]],
    outputs: Outputs,
    progress: Progress,
) -> None:
    """1. Read each record. 2. Work on what was read, in order. 3. Put aside what could not be read or worked on.

    `attempt` does some neighbouring records and may be repeated: it is tried by halves when it fails. `progress` is
    told of each attempt.

    Raises:
        KafkaError, TableError, OSError: it is not a record's fault; the process must end and begin again at its last
            commit.
    """
    readable: list[ConsumerRecord] = []
    items: list[R] = []
    aside: list[PutAside] = []
    for record in batch:
        try:
            items.append(read(record))
        except UndecodableRecord as error:
            aside.append(PutAside(record, "undecodable", str(error)))
        else:
            readable.append(record)

    async def attempt_and_tell(some: Sequence[R]) -> None:
        # A batch full of culprits takes two attempts for each: long, but not stuck.
        progress.attempted()
        await attempt(some)

    if items:
        culprits = await find_by_halves(items, attempt_and_tell, is_environment=is_environment)
        aside += [_culprit(readable[culprit.index], culprit) for culprit in culprits]
    await outputs.put_aside(aside)


def is_environment(error: Exception) -> bool:
    """Whether Kafka, the table or the machine failed, and not the work on one record."""
    if isinstance(error, REFUSED_FOR_SIZE):
        return False
    return isinstance(error, KafkaError | TableError | OSError | MemoryError)


def _culprit(record: ConsumerRecord, culprit: Culprit) -> PutAside:
    reason: BadReason = "too_large" if isinstance(culprit.error, REFUSED_FOR_SIZE) else "failed"
    # The type only: the text may hold the record's values.
    return PutAside(record, reason, type(culprit.error).__name__)

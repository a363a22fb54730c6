"""The agent `remember`: applies the records of `lookup-results` to the table `phones`."""

from collections.abc import Sequence

from aiokafka import ConsumerRecord

from services.lookup.worker.batch_processing import process_batch
from services.lookup.worker.inbox import Batch
from services.lookup.worker.known_phones import update_of
from services.lookup.worker.outputs import Outputs
from services.lookup.worker.phones_table import PhonesTable, PlacedUpdate
from services.lookup.worker.read_progress import ReadProgress


class Remember:
    """Keeps data for all uploads, and a failure for the uploads that it names. A null result erases its phone."""

    def __init__(self, phones: PhonesTable, outputs: Outputs, progress: ReadProgress) -> None:
        self._phones = phones
        self._outputs = outputs
        self._progress = progress

    async def work(self, batch: Batch) -> None:
        """Returns when the results of the batch are safe.

        1. Decode the results.
        2. Write the table and its changelog, and wait for the acknowledgements.
        """
        # 1. `_read` decodes. 2. `_remember` writes.
        await process_batch(batch, read=_read, attempt=self._remember, outputs=self._outputs, progress=self._progress)

    async def _remember(self, updates: Sequence[PlacedUpdate | None]) -> None:
        await self._phones.remember([each for each in updates if each is not None])


def _read(record: ConsumerRecord) -> PlacedUpdate | None:
    phone, update = update_of(record.key, record.value, timestamp_ms=record.timestamp)
    return None if update is None else PlacedUpdate(record.partition, phone, update)

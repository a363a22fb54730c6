"""The agent `remember`: keeps in the table `phones` what `lookup-results` says of each phone."""

from collections.abc import Sequence

from aiokafka import ConsumerRecord

from services.lookup.worker.batches import work_through
from services.lookup.worker.inbox import Batch
from services.lookup.worker.known import news_of
from services.lookup.worker.outputs import Outputs
from services.lookup.worker.phones_table import Heard, Phones
from services.lookup.worker.read_progress import Progress


class Remember:
    """Keeps data for all, a failure for the uploads that it names. A null result erases its phone."""

    def __init__(self, phones: Phones, outputs: Outputs, progress: Progress) -> None:
        self._phones = phones
        self._outputs = outputs
        self._progress = progress

    async def work(self, batch: Batch) -> None:
        """1. Decode the results. 2. Write table and changelog, await the acks."""
        await work_through(batch, read=_read, attempt=self._remember, outputs=self._outputs, progress=self._progress)

    async def _remember(self, heard: Sequence[Heard | None]) -> None:
        await self._phones.remember([each for each in heard if each is not None])


def _read(record: ConsumerRecord) -> Heard | None:
    phone, news = news_of(record.key, record.value, timestamp_ms=record.timestamp)
    return None if news is None else Heard(record.partition, phone, news)

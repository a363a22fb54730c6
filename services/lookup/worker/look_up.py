"""The agent `lookup`: sends a request for each distinct phone among the rows that no remembered result answers."""

import logging
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from aiokafka import ConsumerRecord

from schemas.lookups import LookupRequest
from services.lookup.worker.batches import work_through
from services.lookup.worker.inbox import Batch
from services.lookup.worker.outputs import Outputs
from services.lookup.worker.phones_table import Phones
from services.lookup.worker.publishing import Record
from services.lookup.worker.read_progress import Progress
from services.lookup.worker.sent_keys import SentKeys
from services.lookup.worker.wanted import WantedRow, requests_for, wanted_row
from services.runtime.partitions import partition_of

SENT_KEYS: Final = 50_000
log = logging.getLogger("worker")


class PlacedRow(NamedTuple):
    """A row, the partition where it lies, and the value that says it."""

    row: WantedRow
    partition: int
    value: bytes


class LookUp:
    """Emits nothing for a phone that is known: the join has the same result and the same rule."""

    def __init__(self, phones: Phones, outputs: Outputs, progress: Progress) -> None:
        self._phones = phones
        self._outputs = outputs
        self._progress = progress
        self._sent = SentKeys(SENT_KEYS)
        self._misplaced = 0

    async def work(self, batch: Batch) -> None:
        """1. Decode the rows. 2. Read the table. 3. Send what is needed, await the acks."""
        await work_through(batch, read=_read, attempt=self._look_up, outputs=self._outputs, progress=self._progress)

    async def _look_up(self, rows: Sequence[PlacedRow]) -> None:
        partitions = await self._outputs.row_partitions()
        lying: dict[int, list[PlacedRow]] = defaultdict(list)
        for placed in rows:
            lying[placed.partition].append(placed)
        requests: list[LookupRequest] = []
        strays: list[PlacedRow] = []
        for partition, here in lying.items():
            phones = {placed.row.phone for placed in here}
            known = self._phones.known(partition, phones)
            misplaced = misplaced_phones(phones - known.keys(), partition=partition, partitions=partitions)
            strays += [placed for placed in here if placed.row.phone in misplaced]
            rest = (placed.row for placed in here if placed.row.phone not in misplaced)
            requests += requests_for(rest, known=known, sent=self._sent)
        await self._put_right(strays, partitions)
        await self._outputs.request(requests)
        self._sent.add(request.key for request in requests)

    async def _put_right(self, rows: Sequence[PlacedRow], partitions: int) -> None:
        """Puts rows where their phone belongs; a producer with another partitioner put them elsewhere."""
        if not rows:
            return
        right: dict[int, list[Record]] = defaultdict(list)
        for placed in rows:
            right[partition_of(placed.row.phone.encode(), partitions)].append((placed.row.phone.encode(), placed.value))
        await self._outputs.publish_again(right)
        self._misplaced += len(rows)
        log.warning("published %d rows again that lay in a wrong partition, %d so far", len(rows), self._misplaced)


def _read(record: ConsumerRecord) -> PlacedRow:
    return PlacedRow(wanted_row(record.value, timestamp_ms=record.timestamp), record.partition, record.value)


def misplaced_phones(unknown: Collection[str], *, partition: int, partitions: int) -> set[str]:
    """Those phones among the unknown ones of a partition whose rows belong in another.

    Whatever the partition's table knows of lies where it belongs: its results have the phone as their key, too.
    """
    return {phone for phone in unknown if partition_of(phone.encode(), partitions) != partition}

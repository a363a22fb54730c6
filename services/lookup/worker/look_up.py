"""The agent `lookup`: sends one request for each distinct phone whose row no remembered result answers."""

import logging
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from aiokafka import ConsumerRecord

from schemas.lookups import LookupRequest
from services.lookup.worker.batch_processing import process_batch
from services.lookup.worker.inbox import Batch
from services.lookup.worker.outputs import Outputs
from services.lookup.worker.phones_table import PhonesTable
from services.lookup.worker.publishing import Record
from services.lookup.worker.read_progress import ReadProgress
from services.lookup.worker.request_policy import WantedRow, requests_for, wanted_row
from services.lookup.worker.sent_keys import SentKeys
from services.runtime.partitions import partition_of

SENT_KEYS: Final = 50_000
log = logging.getLogger("worker")


class PlacedRow(NamedTuple):
    """A row, its partition, and the value of its record."""

    row: WantedRow
    partition: int
    value: bytes


class LookUp:
    """Sends nothing for a known phone: the join has the same result and applies the same rule."""

    def __init__(self, phones: PhonesTable, outputs: Outputs, progress: ReadProgress) -> None:
        self._phones = phones
        self._outputs = outputs
        self._progress = progress
        self._sent = SentKeys(SENT_KEYS)
        self._misplaced = 0

    async def work(self, batch: Batch) -> None:
        """Returns when the requests of the batch are acknowledged.

        1. Decode the rows.
        2. Read what the table knows of their phones.
        3. Publish rows again that are in a wrong partition.
        4. Send the requests, and wait for their acknowledgements.
        """
        # 1. `_read` decodes. 2. to 4. are in `_look_up`.
        await process_batch(batch, read=_read, attempt=self._look_up, outputs=self._outputs, progress=self._progress)

    async def _look_up(self, rows: Sequence[PlacedRow]) -> None:
        # 2. Read the table.
        partitions = await self._outputs.row_partitions()
        by_partition: dict[int, list[PlacedRow]] = defaultdict(list)
        for placed in rows:
            by_partition[placed.partition].append(placed)
        requests: list[LookupRequest] = []
        misplaced_rows: list[PlacedRow] = []
        for partition, here in by_partition.items():
            phones = {placed.row.phone for placed in here}
            known = self._phones.known(partition, phones)
            misplaced = misplaced_phones(phones - known.keys(), partition=partition, partitions=partitions)
            misplaced_rows += [placed for placed in here if placed.row.phone in misplaced]
            rest = (placed.row for placed in here if placed.row.phone not in misplaced)
            requests += requests_for(rest, known=known, sent=self._sent)
        # 3. Publish misplaced rows again.
        await self._publish_again(misplaced_rows, partitions)
        # 4. Send the requests.
        await self._outputs.request(requests)
        self._sent.add(request.key for request in requests)

    async def _publish_again(self, rows: Sequence[PlacedRow], partitions: int) -> None:
        """Publishes rows to the partitions of their phones. A producer with another partitioner misplaced them."""
        if not rows:
            return
        by_partition: dict[int, list[Record]] = defaultdict(list)
        for placed in rows:
            by_partition[partition_of(placed.row.phone.encode(), partitions)].append(
                (placed.row.phone.encode(), placed.value)
            )
        await self._outputs.publish_again(by_partition)
        self._misplaced += len(rows)
        log.warning("published %d rows again that lay in a wrong partition, %d so far", len(rows), self._misplaced)


def _read(record: ConsumerRecord) -> PlacedRow:
    return PlacedRow(wanted_row(record.value, timestamp_ms=record.timestamp), record.partition, record.value)


def misplaced_phones(unknown: Collection[str], *, partition: int, partitions: int) -> set[str]:
    """The phones among the `unknown` ones of a partition whose rows belong to another partition.

    Known phones need no check: their results have the phone as their key, so they are in the right partition.
    """
    return {phone for phone in unknown if partition_of(phone.encode(), partitions) != partition}

"""The agent `lookup`: sends a request for each distinct phone among the rows that no remembered result answers."""

import logging
from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from aiokafka import ConsumerRecord
from aiokafka.partitioner import murmur2

from schemas.codec import UndecodableRecord, decode
from services.lookup.inbox import Batch
from services.lookup.known import WantedRow, requests_for
from services.lookup.outputs import Outputs
from services.lookup.phones import Phones
from services.lookup.progress import Progress
from services.lookup.sent import SentKeys

SENT_KEYS: Final = 50_000
log = logging.getLogger("worker")


class LookUp:
    """Emits nothing for a phone that is known: the join has the same result and the same rule."""

    def __init__(self, phones: Phones, outputs: Outputs, progress: Progress) -> None:
        self._phones = phones
        self._outputs = outputs
        self._progress = progress
        self._sent = SentKeys(SENT_KEYS)
        self._misplaced = 0

    async def work(self, batch: Batch) -> None:
        """1. Decode the rows. 2. Read the table. 3. Send what is needed, await the acks. 4. Note the progress."""
        read = await self._read(batch)
        wanted: dict[int, set[str]] = defaultdict(set)
        for record, row in read:
            wanted[record.partition].add(row.phone)
        looked_up_at = self._phones.looked_up_at(wanted)
        unknown = {partition: phones - looked_up_at.keys() for partition, phones in wanted.items()}
        misplaced = misplaced_phones(unknown, partitions=await self._outputs.row_partitions())
        if misplaced:
            await self._publish_again([(r, row) for r, row in read if row.phone in misplaced[r.partition]])
            read = [(r, row) for r, row in read if row.phone not in misplaced[r.partition]]
        requests = requests_for((row for _, row in read), looked_up_at=looked_up_at, sent=self._sent)
        await self._outputs.request(requests)
        self._sent.add(request.key for request in requests)
        self._progress.processed(batch)

    async def _read(self, batch: Batch) -> list[tuple[ConsumerRecord, WantedRow]]:
        read = []
        for record in batch:
            try:
                read.append((record, decode(WantedRow, record.value)))
            except UndecodableRecord as error:
                await self._outputs.put_aside(record, error)
        return read

    async def _publish_again(self, rows: list[tuple[ConsumerRecord, WantedRow]]) -> None:
        """Puts rows where their phone belongs; a producer with another partitioner put them elsewhere."""
        await self._outputs.publish_again([(row.phone.encode(), record.value) for record, row in rows])
        self._misplaced += len(rows)
        log.warning("published %d rows again that lay in a wrong partition, %d so far", len(rows), self._misplaced)


def misplaced_phones(unknown: Mapping[int, set[str]], *, partitions: int) -> dict[int, set[str]]:
    """Those phones, by partition, whose rows belong in another; empty if none. Known phones are where they belong."""
    misplaced = {
        partition: {phone for phone in phones if partition_of(phone, partitions) != partition}
        for partition, phones in unknown.items()
    }
    return misplaced if any(misplaced.values()) else {}


def partition_of(phone: str, partitions: int) -> int:
    """The partition of a phone's records, as Kafka's own clients choose it."""
    return int(murmur2(phone.encode()) & 0x7FFFFFFF) % partitions

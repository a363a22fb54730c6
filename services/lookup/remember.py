"""The agent `remember`: keeps in the table `phones` what `lookup-results` says of each phone."""

from aiokafka import ConsumerRecord

from schemas.codec import UndecodableRecord, decode
from schemas.lookups import LookupResult
from services.lookup.inbox import Batch
from services.lookup.known import worth_remembering
from services.lookup.outputs import Outputs
from services.lookup.phones import Change, Phones
from services.lookup.progress import Progress


class Remember:
    """Failures are not remembered: they answer nobody but the uploads they name. A null result erases its phone."""

    def __init__(self, phones: Phones, outputs: Outputs, progress: Progress) -> None:
        self._phones = phones
        self._outputs = outputs
        self._progress = progress

    async def work(self, batch: Batch) -> None:
        """1. Decode the results. 2. Write table and changelog, await the acks. 3. Note the progress."""
        changes: list[Change] = []
        for record in batch:
            try:
                changes += _changes(record)
            except UndecodableRecord as error:
                await self._outputs.put_aside(record, error)
        await self._phones.apply(changes)
        self._progress.processed(batch)


def _changes(record: ConsumerRecord) -> list[Change]:
    if record.value is None:
        return _erasure(record)
    result = decode(LookupResult, record.value)
    known = worth_remembering(result)
    return [Change(record.partition, result.phone, known)] if known else []


def _erasure(record: ConsumerRecord) -> list[Change]:
    # A failure's key is not a phone of the table, so erasing it changes nothing.
    if record.key is None:
        raise UndecodableRecord("a LookupResult was expected, the record has neither key nor value")
    return [Change(record.partition, record.key.decode(errors="replace"), None)]

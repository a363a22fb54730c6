"""The agent `remember`: keeps in the table `phones` what `lookup-results` says of each phone."""

from typing import Any

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
        for event in batch:
            try:
                changes += _changes(event)
            except UndecodableRecord as error:
                await self._outputs.put_aside(event, error)
        await self._phones.apply(changes)
        self._progress.processed(batch)


def _changes(event: Any) -> list[Change]:
    partition = event.message.partition
    if event.message.value is None:
        return _erasure(partition, event.message.key)
    result = decode(LookupResult, event.message.value)
    known = worth_remembering(result)
    return [Change(partition, result.phone, known)] if known else []


def _erasure(partition: int, key: bytes | None) -> list[Change]:
    # A failure's key is not a phone of the table, so erasing it changes nothing.
    if key is None:
        raise UndecodableRecord("a LookupResult was expected, the record has neither key nor value")
    return [Change(partition, key.decode(errors="replace"), None)]

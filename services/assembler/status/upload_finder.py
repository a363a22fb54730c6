"""Finds an upload that the identity may see, and waits for one that is still on its way into SQL."""

import time
from collections.abc import Callable
from typing import Final

from pydantic import TypeAdapter, ValidationError

from schemas.values import UploadId
from services.assembler.domain.positions import Offsets
from services.assembler.domain.stored import StoredUpload
from services.assembler.status.database_reader import DatabaseReader
from services.assembler.status.live import LiveHub
from services.assembler.store import reads
from services.assembler.store.fences import load_fences
from services.runtime.identity import Identity
from services.runtime.problems import ProblemError

JOINED_WAIT_SECONDS: Final = 2.0
"""How long a call waits for an upload that was made a moment ago, before the client is asked to come again."""
_UPLOAD_ID: Final[TypeAdapter[str]] = TypeAdapter(UploadId)


def is_upload_id(text: str) -> bool:
    """Whether an upload can have this id. A text that cannot be an id never reaches the database."""
    try:
        _UPLOAD_ID.validate_python(text)
    except ValidationError:
        return False
    return True


class UploadFinder:
    """Looks uploads up in SQL; the live hub says when to look again."""

    def __init__(self, database: DatabaseReader, hub: LiveHub) -> None:
        self._database = database
        self._hub = hub

    async def find(self, identity: Identity, upload_id: str) -> StoredUpload:
        """The upload, if the identity may see it. An upload that may still be on its way into SQL is waited for.

        Raises:
            ProblemError: 404 when there is none for this identity, 503 when it is too early to say so.
        """
        record = await self._find(upload_id) if is_upload_id(upload_id) else None
        if record is None or not identity.may_see(record.owner or ""):
            raise ProblemError(404, "no-such-upload", "No such upload", "There is no upload with this id.")
        return record

    async def _find(self, upload_id: str) -> StoredUpload | None:
        record = await self._database.read(lambda connection: reads.upload(connection, upload_id))
        return await self._once_joined(upload_id) if record is None else record

    async def wait_for(
        self, upload_id: str, good: Callable[[StoredUpload | None], bool], seconds: float
    ) -> StoredUpload | None:
        """The upload as soon as `good` accepts it, or its present state when the time is over."""
        deadline = time.monotonic() + seconds
        with self._hub.watch(upload_id) as watcher:
            while True:
                record = await self._database.read(lambda connection: reads.upload(connection, upload_id))
                left = deadline - time.monotonic()
                if good(record) or left <= 0:
                    return record
                # The hub may miss news while it reconnects, so the loop also looks by itself now and then.
                await watcher.wait(min(left, seconds / 20))

    async def _once_joined(self, upload_id: str) -> StoredUpload | None:
        """The upload once the join has read all events that were in the log at the call; None: it does not exist.

        Raises:
            ProblemError: 503 when the join is not that far in time, or Kafka does not say how far the log goes.
        """
        end = await self._hub.end_of_events(upload_id)
        deadline = time.monotonic() + JOINED_WAIT_SECONDS
        with self._hub.watch(upload_id) as watcher:
            while end is not None:
                record, joined = await self._database.read(
                    lambda connection: (
                        reads.upload(connection, upload_id),
                        load_fences(connection, [end.partition]).get(end.partition, Offsets()).upload_events,
                    )
                )
                if record is not None or joined >= end.offset:
                    return record
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                await watcher.wait(min(left, 0.1))
        raise ProblemError(
            503,
            "not-there-yet",
            "The upload is not there yet",
            "It may have been made a moment ago and not be recorded yet. Ask again in a second.",
            headers={"Retry-After": "1"},
        )

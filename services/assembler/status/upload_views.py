"""Builds uploads as people see them: from their records, with place in the queue, time left and the reason to wait."""

import logging
import time
from datetime import UTC, datetime
from typing import Final

from pydantic import ValidationError

from schemas.codec import where_and_what
from schemas.interface import Upload
from schemas.settings import Settings
from schemas.uploads import UploadState
from services.assembler.domain.stored import StoredUpload
from services.assembler.domain.views import upload_view
from services.assembler.status.database_reader import DatabaseReader
from services.assembler.status.eta import Feeding, eta_of, feeding_of
from services.assembler.status.live import LiveHub
from services.assembler.status.why import why_of
from services.assembler.store import reads
from services.runtime.problems import ProblemError

log = logging.getLogger(__name__)
FEEDINGS_SECONDS: Final = 1.0
_MOVING: Final[tuple[UploadState, ...]] = ("in_progress",)


class UploadViews:
    """Turns records into views. What all moving uploads have yet to feed is read at most once a second."""

    def __init__(self, settings: Settings, database: DatabaseReader, hub: LiveHub) -> None:
        self._settings = settings
        self._database = database
        self._hub = hub
        self._feedings: dict[str, Feeding] = {}
        self._feedings_until = 0.0

    async def one(self, record: StoredUpload) -> Upload:
        """One upload.

        Raises:
            ProblemError: 404 when an earlier version stored it with values that no upload has today.
        """
        views = await self.many([record])
        if not views:
            raise ProblemError(
                404, "no-such-upload", "No such upload", "An earlier version stored it; upload it again."
            )
        return views[0]

    async def many(self, records: list[StoredUpload]) -> list[Upload]:
        """The uploads of a list. An upload that cannot be shown is left out: it must not hide the others."""
        feedings = await self._feedings_for(records)
        views = []
        for record in records:
            try:
                views.append(self._view(record, feedings))
            except ValidationError as error:
                log.warning("upload no %d cannot be shown: %s", record.no, where_and_what(error))
        return views

    async def _feedings_for(self, records: list[StoredUpload]) -> dict[str, Feeding]:
        return await self._unfed_uploads() if any(record.state in _MOVING for record in records) else {}

    def _view(self, record: StoredUpload, feedings: dict[str, Feeding]) -> Upload:
        now = datetime.now(UTC)
        system = self._hub.system_status()
        moving = record.state in _MOVING
        lane = system.lanes.get(record.id)
        return upload_view(
            record,
            settings=self._settings,
            why=why_of(record.id, record.state, record.counts, system, fed=record.fed_at is not None, now=now),
            position=None if lane is None or not moving else lane.position,
            eta=eta_of(record.id, system.lookup, feedings, now=now) if moving else None,
        )

    async def _unfed_uploads(self) -> dict[str, Feeding]:
        """By moving upload: the part that is not in the queue yet, at most a second old."""
        if time.monotonic() >= self._feedings_until:
            moving = await self._database.read(
                lambda connection: reads.list_uploads(connection, states=_MOVING, limit=500)
            )
            self._feedings = {record.id: _feeding_of(record) for record in moving}
            self._feedings_until = time.monotonic() + FEEDINGS_SECONDS
        return self._feedings


def _feeding_of(record: StoredUpload) -> Feeding:
    distinct, known = record.plan_distinct, record.plan_known or 0
    planned_calls = None if distinct is None else max(0, distinct - known)
    return feeding_of(record.counts, usable=record.plan_usable, planned_calls=planned_calls)

"""Owns the recently opened uploads: the first event of each id, and the number of unfinished uploads of each owner."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from schemas.upload_events import DeleteUpload, UploadEvent, UploadOpened, UploadRefused
from schemas.uploads import FINISHED, UploadProgress

_IDEMPOTENT_VERSION = 5


@dataclass(slots=True)
class RecentUploads:
    """A fold of `upload-events` and `upload-progress`, which may arrive in any order.

    It keeps the whole event of an idempotent id, and only the owner of any other id.
    """

    _first: dict[str, UploadOpened] = field(default_factory=dict)
    _owner: dict[str, str] = field(default_factory=dict)
    _opened_at: dict[str, datetime] = field(default_factory=dict)
    _finished: set[str] = field(default_factory=set)
    _unfinished: Counter[str] = field(default_factory=Counter)

    def first(self, upload_id: str) -> UploadOpened | None:
        """The first `UploadOpened` of an upload that was opened with an `Idempotency-Key`."""
        return self._first.get(upload_id)

    def unfinished(self, owner: str) -> int:
        return self._unfinished[owner]

    def event(self, event: UploadEvent) -> None:
        if isinstance(event, UploadOpened):
            self._open(event)
        elif isinstance(event, UploadRefused | DeleteUpload):
            self._set_finished(event.upload_id, True)

    def progress(self, progress: UploadProgress) -> None:
        self._set_finished(progress.upload_id, progress.state in FINISHED)

    def forget(self, before: datetime) -> None:
        """Drop the uploads that were opened before a time."""
        for upload_id in [key for key, at in self._opened_at.items() if at < before]:
            self._set_finished(upload_id, True)
            self._finished.discard(upload_id)
            self._first.pop(upload_id, None)
            del self._owner[upload_id], self._opened_at[upload_id]
        self._finished.intersection_update(self._owner)

    def _open(self, opened: UploadOpened) -> None:
        if opened.upload_id in self._owner:
            return
        self._owner[opened.upload_id] = opened.owner
        self._opened_at[opened.upload_id] = opened.at
        if _is_idempotent(opened.upload_id):
            self._first[opened.upload_id] = opened
        if opened.upload_id not in self._finished:
            self._unfinished[opened.owner] += 1

    def _set_finished(self, upload_id: str, finished: bool) -> None:
        if finished == (upload_id in self._finished):
            return
        change = self._finished.add if finished else self._finished.discard
        change(upload_id)
        owner = self._owner.get(upload_id)
        if owner is not None:
            self._unfinished[owner] += -1 if finished else 1
            if not self._unfinished[owner]:
                del self._unfinished[owner]


def _is_idempotent(upload_id: str) -> bool:
    try:
        return UUID(upload_id).version == _IDEMPOTENT_VERSION
    except ValueError:
        return False

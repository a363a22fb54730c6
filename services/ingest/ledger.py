"""Holds what the feeder knows of its uploads: the fold of its partitions of three topics, in memory only."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field

from schemas.codec import UndecodableRecord, decode, decode_one_of
from schemas.upload_events import UPLOAD_EVENT, UploadEvent
from schemas.uploads import FeedCheckpoint, UploadProgress
from services.ingest.cases import Case, Settled, fold

_FINISHED = frozenset({"completed", "failed", "cancelled"})
log = logging.getLogger(__name__)


@dataclass(slots=True)
class Ledger:
    """Cases by upload id. Of those that are over only the id stays, so that a later `UploadOpened` of it is ignored."""

    cases: dict[str, Case] = field(default_factory=dict)
    checkpoints: dict[str, FeedCheckpoint] = field(default_factory=dict)
    settled: dict[str, Settled] = field(default_factory=dict)
    _over: set[str] = field(default_factory=set)

    def event_record(self, value: bytes | None, *, offset: int) -> None:
        """Folds a record of `upload-events`. One that cannot be read is skipped: the join keeps it for operators."""
        try:
            event = decode_one_of(UPLOAD_EVENT, value, what="upload event")
        except UndecodableRecord as error:
            log.warning("skipped a record of upload-events at offset %d: %s", offset, error)
            return
        self.event(event, offset=offset)

    def event(self, event: UploadEvent, *, offset: int) -> None:
        """Folds an event; also used for our own as soon as Kafka has them."""
        upload_id = event.upload_id
        if upload_id in self._over:
            return
        case = fold(self.cases.get(upload_id), event, offset=offset)
        if case is None:
            return
        if case.over:
            self._over.add(upload_id)
            self.cases.pop(upload_id, None)
            self.settled.pop(upload_id, None)
            return
        self.cases[upload_id] = case

    def checkpoint_record(self, key: bytes | None, value: bytes | None, *, offset: int) -> None:
        """Folds a record of `feed-checkpoints`. One that cannot be read means: from the first row on."""
        upload_id = (key or b"").decode("utf-8", "replace")
        self.checkpoints.pop(upload_id, None)
        if value is None:
            return
        try:
            self.checkpoints[upload_id] = decode(FeedCheckpoint, value)
        except UndecodableRecord as error:
            log.warning("skipped a record of feed-checkpoints at offset %d: %s", offset, error)

    def progress_record(self, key: bytes | None, value: bytes | None, *, offset: int) -> None:
        """Folds a record of `upload-progress`."""
        upload_id = (key or b"").decode("utf-8", "replace")
        if value is None or upload_id in self._over:
            self.settled.pop(upload_id, None)
            return
        try:
            progress = decode(UploadProgress, value)
        except UndecodableRecord as error:
            log.warning("skipped a record of upload-progress at offset %d: %s", offset, error)
            return
        if progress.state in _FINISHED:
            self.settled.pop(upload_id, None)
        else:
            self.settled[upload_id] = Settled.of(progress)

    def settled_of(self, upload_id: str) -> Settled:
        return self.settled.get(upload_id, Settled())

    def left_over_checkpoints(self) -> Iterator[str]:
        """Uploads that are over and still have a checkpoint: it may be erased."""
        return (upload_id for upload_id in self.checkpoints if upload_id in self._over)

"""Owns the state of the feeder's uploads: the fold of its partitions of three topics, in memory only."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from schemas.codec import UndecodableRecord, decode, decode_one_of
from schemas.upload_events import UPLOAD_EVENT, UploadEvent
from schemas.uploads import FINISHED, FeedCheckpoint, UploadProgress
from services.ingest.feeder.upload_state import FeederUpload, JoinCounts, fold


class ConsumedRecord(Protocol):
    """A consumed record, for example aiokafka's `ConsumerRecord`. `timestamp`: milliseconds since 1970."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


@dataclass(slots=True)
class UploadTable:
    """Active uploads by id. Of an upload that is over only the id is kept, to ignore a later `UploadOpened` of it."""

    active: dict[str, FeederUpload] = field(default_factory=dict)
    checkpoints: dict[str, FeedCheckpoint] = field(default_factory=dict)
    join_counts: dict[str, JoinCounts] = field(default_factory=dict)
    _over: set[str] = field(default_factory=set)

    def event_record(self, record: ConsumedRecord) -> None:
        """Fold a record of `upload-events`. Raises UndecodableRecord."""
        event = decode_one_of(UPLOAD_EVENT, record.value, what="upload event", timestamp_ms=record.timestamp)
        self.event(event, offset=record.offset)

    def event(self, event: UploadEvent, *, offset: int) -> None:
        """Fold an event. The feeder's own events are folded as soon as Kafka has them."""
        upload_id = event.upload_id
        if upload_id in self._over:
            return
        upload = fold(self.active.get(upload_id), event, offset=offset)
        if upload is None:
            return
        if upload.over:
            self._over.add(upload_id)
            self.active.pop(upload_id, None)
            self.join_counts.pop(upload_id, None)
            return
        self.active[upload_id] = upload

    def checkpoint_record(self, record: ConsumedRecord) -> None:
        """Fold a record of `feed-checkpoints`. Raises UndecodableRecord; the upload is then fed from its first row."""
        upload_id = _key_of(record)
        self.checkpoints.pop(upload_id, None)
        if record.value is not None:
            checkpoint = decode(FeedCheckpoint, record.value, timestamp_ms=record.timestamp)
            self.checkpoints[_confirmed(checkpoint.upload_id, upload_id)] = checkpoint

    def progress_record(self, record: ConsumedRecord) -> None:
        """Fold a record of `upload-progress`. Raises UndecodableRecord; the earlier counts are kept."""
        upload_id = _key_of(record)
        if record.value is None or upload_id in self._over:
            self.join_counts.pop(upload_id, None)
            return
        progress = decode(UploadProgress, record.value, timestamp_ms=record.timestamp)
        _confirmed(progress.upload_id, upload_id)
        if progress.state in FINISHED:
            self.join_counts.pop(upload_id, None)
        else:
            self.join_counts[upload_id] = JoinCounts.of(progress)

    def join_counts_of(self, upload_id: str) -> JoinCounts:
        return self.join_counts.get(upload_id, JoinCounts())

    def stale_checkpoints(self) -> Iterator[str]:
        """The uploads that are over and still have a checkpoint, which may be erased."""
        return (upload_id for upload_id in self.checkpoints if upload_id in self._over)


def _key_of(record: ConsumedRecord) -> str:
    return (record.key or b"").decode("utf-8", "replace")


def _confirmed(upload_id: str, key: str) -> str:
    """Return the id of a value. Raises UndecodableRecord if it is not the id of the record's key."""
    if upload_id != key:
        raise UndecodableRecord("its key is not the id of its upload")
    return upload_id

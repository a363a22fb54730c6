"""Feeds one upload: publishes its rows in order, and saves a checkpoint only behind acknowledged rows."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from schemas import topics
from schemas.codec import encode
from schemas.settings import Settings
from schemas.upload_events import UploadFed
from schemas.uploads import FeedCheckpoint
from services.ingest.feeder.admission import left_out_reason
from services.ingest.feeder.preparation.row_file import PreparedReader
from services.ingest.feeder.row_values import (
    left_out_head,
    rejected_head,
    rejected_value,
    row_head,
    usable_value,
)
from services.ingest.feeder.upload_state import FeederUpload, JoinCounts
from services.ingest.sending import Sender
from services.runtime.batch_sending import KeyAndValue
from services.runtime.kafka import topic_name
from services.runtime.partitions import partition_of

CHECKPOINT_SECONDS = 1.0
"""Time between two checkpoints. After a crash, rows of at most this time are published again."""


@dataclass(frozen=True, slots=True)
class Outlet:
    """Where rows go: the sender, the partition counts of topics keyed by phone and by upload, and the clocks."""

    sender: Sender
    settings: Settings
    row_partitions: int
    upload_partitions: int
    clock: Callable[[], float]
    now: Callable[[], datetime]


@dataclass(slots=True)
class Feed:
    """An upload that is being fed. All rows before `next_row` are acknowledged; `rejected` of them were rejected."""

    reader: PreparedReader
    rows: int
    """Rows of the whole file as this feeder read it. The number in an event is not trusted."""
    next_row: int = 1
    rejected: int = 0
    saved_row: int = 1
    saved_at: float = float("-inf")

    def save_is_due(self, now: float) -> bool:
        """Whether rows were published since the last checkpoint, and it is old enough."""
        return self.next_row != self.saved_row and now - self.saved_at >= CHECKPOINT_SECONDS

    @property
    def fed_rows(self) -> int:
        return self.next_row - 1

    @property
    def is_done(self) -> bool:
        return self.fed_rows >= self.rows


class SpoolBroken(Exception):
    """The spool holds fewer rows than were read into it."""


async def publish(feed: Feed, upload: FeederUpload, join_counts: JoinCounts, *, rows: int, outlet: Outlet) -> None:
    """Publish the next rows and wait until Kafka has them.

    1. The next rows are read from the spool and become records.
    2. The records are sent and acknowledged.
    3. `feed` moves behind them, so the next checkpoint may cover them.

    Raises:
        KafkaError: Kafka did not accept some records. `feed` must be made again from its checkpoint.
        RecordTooLarge: a record is larger than Kafka accepts.
        SpoolBroken: the spool has no row, although rows are left.
    """
    # 1. Read.
    settings = outlet.settings
    usable, rejected = _next_records(
        feed, upload, left_out_reason(upload, join_counts, fed_rows=feed.fed_rows), rows=rows, outlet=outlet
    )
    if feed.reader.next_row == feed.next_row and not feed.is_done:
        raise SpoolBroken
    records = {(topic_name(topics.UPLOAD_ROWS, settings), partition): some for partition, some in usable.items()}
    if rejected:
        place = partition_of(upload.upload_id.encode(), outlet.upload_partitions)
        records[topic_name(topics.REJECTED_ROWS, settings), place] = rejected
    # 2. Send.
    await outlet.sender.send_batches(records)
    # 3. Move.
    feed.next_row = feed.reader.next_row
    feed.rejected += len(rejected)


def _next_records(
    feed: Feed, upload: FeederUpload, reason: str | None, *, rows: int, outlet: Outlet
) -> tuple[dict[int, list[KeyAndValue]], list[KeyAndValue]]:
    """The next rows as records: usable ones by partition, then the rejected and left out ones."""
    key = upload.upload_id.encode()
    bad_head = rejected_head(upload)
    if reason is None:
        head = row_head(upload, default_max_age_seconds=outlet.settings.max_age_seconds)
    else:
        head = left_out_head(upload, reason)
    usable: defaultdict[int, list[KeyAndValue]] = defaultdict(list)
    rejected: list[KeyAndValue] = []
    for row in feed.reader.take(rows):
        if not row.phone:
            rejected.append((key, rejected_value(row, bad_head)))
        elif reason is not None:
            rejected.append((key, rejected_value(row, head)))
        else:
            usable[row.hash % outlet.row_partitions].append((row.phone, usable_value(row, head)))
    return usable, rejected


async def save_checkpoint(feed: Feed, upload: FeederUpload, *, outlet: Outlet) -> None:
    """Write the checkpoint. Kafka has acknowledged all rows before it."""
    checked = upload.checked
    assert checked is not None
    checkpoint = FeedCheckpoint(
        upload_id=upload.upload_id,
        check_id=upload.check_id,
        detected=checked.detected,
        options=upload.options,
        counts=checked.counts,
        next_row=feed.next_row,
        rejected=feed.rejected,
        at=outlet.now(),
    )
    topic = topic_name(topics.FEED_CHECKPOINTS, outlet.settings)
    await outlet.sender.send(topic, encode(checkpoint), key=upload.upload_id.encode())
    feed.saved_at = outlet.clock()
    feed.saved_row = checkpoint.next_row


async def erase_checkpoint(upload_id: str, *, outlet: Outlet) -> None:
    """Write the tombstone of the checkpoint of a finished upload."""
    topic = topic_name(topics.FEED_CHECKPOINTS, outlet.settings)
    await outlet.sender.send(topic, None, key=upload_id.encode())


def fed_event(feed: Feed, upload: FeederUpload, *, now: datetime) -> UploadFed:
    """The event after all rows are published."""
    return UploadFed(upload_id=upload.upload_id, at=now, rows=feed.fed_rows, rejected=feed.rejected)

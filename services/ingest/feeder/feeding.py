"""Feeds one upload: its rows in order, as many as its turn allows, each acknowledged before the checkpoint moves."""

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
from services.ingest.feeder.upload_state import Case, Settled
from services.ingest.partitioning import partition_of
from services.ingest.sending import Sender
from services.runtime.batch_sending import KeyAndValue
from services.runtime.kafka import topic_name

CHECKPOINT_SECONDS = 1.0
"""Rows of at most so long are published again after a crash."""


@dataclass(frozen=True, slots=True)
class Outlet:
    """Where rows go, and how many partitions the topics keyed by phone and by upload have."""

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
    """Of the whole file, as this feeder read it: an event may say something else."""
    next_row: int = 1
    rejected: int = 0
    saved_row: int = 1
    saved_at: float = float("-inf")

    def save_is_due(self, now: float) -> bool:
        """Whether rows were published that the checkpoint does not know, and it is old enough."""
        return self.next_row != self.saved_row and now - self.saved_at >= CHECKPOINT_SECONDS

    @property
    def fed_rows(self) -> int:
        return self.next_row - 1

    @property
    def is_done(self) -> bool:
        return self.fed_rows >= self.rows


class SpoolBroken(Exception):
    """The spool holds fewer rows than were read into it."""


async def publish(feed: Feed, case: Case, settled: Settled, *, rows: int, outlet: Outlet) -> None:
    """Publishes the next rows and waits until Kafka has them.

    Raises:
        KafkaError: some were not taken; `feed` must be made again from its checkpoint.
        RecordTooLarge: Kafka never takes one of them.
        SpoolBroken: there are none, though some are left.
    """
    settings = outlet.settings
    usable, rejected = _sorted_out(
        feed, case, left_out_reason(case, settled, fed_rows=feed.fed_rows), rows=rows, outlet=outlet
    )
    if feed.reader.next_row == feed.next_row and not feed.is_done:
        raise SpoolBroken
    records = {(topic_name(topics.UPLOAD_ROWS, settings), partition): some for partition, some in usable.items()}
    if rejected:
        place = partition_of(case.upload_id.encode(), outlet.upload_partitions)
        records[topic_name(topics.REJECTED_ROWS, settings), place] = rejected
    await outlet.sender.send_batches(records)
    feed.next_row = feed.reader.next_row
    feed.rejected += len(rejected)


def _sorted_out(
    feed: Feed, case: Case, reason: str | None, *, rows: int, outlet: Outlet
) -> tuple[dict[int, list[KeyAndValue]], list[KeyAndValue]]:
    """The next rows as records: usable ones by partition, then the rejected and left out ones."""
    key = case.upload_id.encode()
    bad_head = rejected_head(case)
    if reason is None:
        head = row_head(case, default_max_age_seconds=outlet.settings.max_age_seconds)
    else:
        head = left_out_head(case, reason)
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


async def save(feed: Feed, case: Case, *, outlet: Outlet) -> None:
    """Writes the checkpoint. Only rows that Kafka has acknowledged are before it."""
    checked = case.checked
    assert checked is not None
    checkpoint = FeedCheckpoint(
        upload_id=case.upload_id,
        check_id=case.check_id,
        detected=checked.detected,
        options=case.options,
        counts=checked.counts,
        next_row=feed.next_row,
        rejected=feed.rejected,
        at=outlet.now(),
    )
    topic = topic_name(topics.FEED_CHECKPOINTS, outlet.settings)
    await outlet.sender.send(topic, encode(checkpoint), key=case.upload_id.encode())
    feed.saved_at = outlet.clock()
    feed.saved_row = checkpoint.next_row


async def erase_checkpoint(upload_id: str, *, outlet: Outlet) -> None:
    """Writes the checkpoint's tombstone: nothing is left to do."""
    topic = topic_name(topics.FEED_CHECKPOINTS, outlet.settings)
    await outlet.sender.send(topic, None, key=upload_id.encode())


def fed_event(feed: Feed, case: Case, *, now: datetime) -> UploadFed:
    """What is said once all rows are published."""
    return UploadFed(upload_id=case.upload_id, at=now, rows=feed.fed_rows, rejected=feed.rejected)

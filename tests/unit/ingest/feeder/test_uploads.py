"""The fold of the feeder's partitions: what remains in memory, and what bad records do."""

from datetime import timedelta

import pytest

from schemas.codec import UndecodableRecord, encode
from schemas.upload_events import UploadFed
from schemas.uploads import FeedCheckpoint
from services.ingest.feeder.upload_state import JoinCounts
from services.ingest.feeder.uploads import UploadTable
from tests.fixtures.ids import upload_id
from tests.unit.ingest.builders import START, Record, U, checked, opened, progress

PROGRESS = Record(encode(progress(answered=3)), topic="upload-progress")


def checkpoint() -> FeedCheckpoint:
    outcome = checked(f"{U}.0")
    return FeedCheckpoint(
        upload_id=U,
        check_id=f"{U}.0",
        detected=outcome.detected,
        options=outcome.options,
        counts=outcome.counts,
        next_row=5,
        rejected=1,
        at=START,
    )


CHECKPOINT = Record(encode(checkpoint()), topic="feed-checkpoints")


def test_the_order_of_the_topics_does_not_matter() -> None:
    uploads = UploadTable()
    uploads.progress_record(PROGRESS)
    uploads.checkpoint_record(CHECKPOINT)
    uploads.event_record(Record(encode(opened())))
    assert uploads.active[U].opened == opened()
    assert uploads.checkpoints[U] == checkpoint()
    assert uploads.join_counts_of(U) == JoinCounts(rows=3, stored=3)


def test_of_an_upload_that_is_over_only_its_leftover_checkpoint_is_known() -> None:
    uploads = UploadTable()
    uploads.event(opened(), offset=0)
    uploads.checkpoint_record(CHECKPOINT)
    uploads.event(UploadFed(upload_id=U, at=START, rows=1, rejected=0), offset=1)
    uploads.event(opened(), offset=2)
    uploads.progress_record(PROGRESS)
    assert uploads.active == {}
    assert uploads.join_counts == {}
    assert list(uploads.stale_checkpoints()) == [U]


def test_a_tombstone_erases_a_checkpoint() -> None:
    uploads = UploadTable()
    uploads.checkpoint_record(CHECKPOINT)
    uploads.checkpoint_record(Record(None))
    assert uploads.checkpoints == {}


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"{",
        b'{"type":"unheard_of"}',
        b"\xff",
        b"9" * 10_000,
        encode(opened(seconds=timedelta(days=2).total_seconds())),
        encode(opened()).replace(b'"2026-01-01T00:00:00Z"', b'"0001-01-01T00:00:00+14:00"'),
        encode(opened()).replace(b'"2026-01-01T00:00:00Z"', b'"9999-12-31T23:59:59-12:00"'),
    ],
)
def test_an_event_that_cannot_be_read_changes_nothing(value: bytes | None) -> None:
    uploads = UploadTable()
    with pytest.raises(UndecodableRecord):
        uploads.event_record(Record(value))
    uploads.event(opened(), offset=1)
    assert list(uploads.active) == [U]


@pytest.mark.parametrize("hostile", [b"{}", CHECKPOINT.value, PROGRESS.value])
def test_a_record_says_something_of_the_upload_of_its_key_only(hostile: bytes) -> None:
    uploads = UploadTable()
    uploads.checkpoint_record(CHECKPOINT)
    uploads.progress_record(PROGRESS)
    other = upload_id("other").encode()
    with pytest.raises(UndecodableRecord):
        uploads.checkpoint_record(Record(hostile, key=other))
    with pytest.raises(UndecodableRecord):
        uploads.progress_record(Record(hostile, key=other))
    assert list(uploads.checkpoints) == [U]
    assert list(uploads.join_counts) == [U]

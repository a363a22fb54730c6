"""The fold of the feeder's partitions: what remains in memory, and what bad records do."""

from datetime import timedelta

import pytest

from schemas.codec import UndecodableRecord, encode
from schemas.upload_events import UploadFed
from schemas.uploads import FeedCheckpoint
from services.ingest.feeder.upload_state import Settled
from services.ingest.feeder.uploads import Ledger
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
    ledger = Ledger()
    ledger.progress_record(PROGRESS)
    ledger.checkpoint_record(CHECKPOINT)
    ledger.event_record(Record(encode(opened())))
    assert ledger.cases[U].opened == opened()
    assert ledger.checkpoints[U] == checkpoint()
    assert ledger.settled_of(U) == Settled(rows=3, stored=3)


def test_of_an_upload_that_is_over_only_its_leftover_checkpoint_is_known() -> None:
    ledger = Ledger()
    ledger.event(opened(), offset=0)
    ledger.checkpoint_record(CHECKPOINT)
    ledger.event(UploadFed(upload_id=U, at=START, rows=1, rejected=0), offset=1)
    ledger.event(opened(), offset=2)
    ledger.progress_record(PROGRESS)
    assert ledger.cases == {}
    assert ledger.settled == {}
    assert list(ledger.left_over_checkpoints()) == [U]


def test_a_tombstone_erases_a_checkpoint() -> None:
    ledger = Ledger()
    ledger.checkpoint_record(CHECKPOINT)
    ledger.checkpoint_record(Record(None))
    assert ledger.checkpoints == {}


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
    ledger = Ledger()
    with pytest.raises(UndecodableRecord):
        ledger.event_record(Record(value))
    ledger.event(opened(), offset=1)
    assert list(ledger.cases) == [U]


@pytest.mark.parametrize("hostile", [b"{}", CHECKPOINT.value, PROGRESS.value])
def test_a_record_says_something_of_the_upload_of_its_key_only(hostile: bytes) -> None:
    ledger = Ledger()
    ledger.checkpoint_record(CHECKPOINT)
    ledger.progress_record(PROGRESS)
    other = upload_id("other").encode()
    with pytest.raises(UndecodableRecord):
        ledger.checkpoint_record(Record(hostile, key=other))
    with pytest.raises(UndecodableRecord):
        ledger.progress_record(Record(hostile, key=other))
    assert list(ledger.checkpoints) == [U]
    assert list(ledger.settled) == [U]

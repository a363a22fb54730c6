"""The fold of the feeder's partitions: what remains in memory, and what bad records do."""

from schemas.codec import encode
from schemas.upload_events import UploadFed
from schemas.uploads import FeedCheckpoint
from services.ingest.cases import Settled
from services.ingest.ledger import Ledger
from tests.unit.ingest.builders import START, checked, opened, progress


def checkpoint() -> FeedCheckpoint:
    outcome = checked("u.0")
    return FeedCheckpoint(
        upload_id="u",
        check_id="u.0",
        detected=outcome.detected,
        options=outcome.options,
        counts=outcome.counts,
        next_row=5,
        rejected=1,
        at=START,
    )


def test_the_order_of_the_topics_does_not_matter() -> None:
    ledger = Ledger()
    ledger.progress_record(b"u", encode(progress(answered=3)), offset=0)
    ledger.checkpoint_record(b"u", encode(checkpoint()), offset=0)
    ledger.event_record(encode(opened()), offset=0)
    assert ledger.cases["u"].opened == opened()
    assert ledger.checkpoints["u"] == checkpoint()
    assert ledger.settled_of("u") == Settled(rows=3, stored=3)


def test_of_an_upload_that_is_over_only_its_leftover_checkpoint_is_known() -> None:
    ledger = Ledger()
    ledger.event(opened(), offset=0)
    ledger.checkpoint_record(b"u", encode(checkpoint()), offset=0)
    ledger.event(UploadFed(upload_id="u", at=START, rows=1, rejected=0), offset=1)
    ledger.event(opened(), offset=2)
    ledger.progress_record(b"u", encode(progress(answered=3)), offset=0)
    assert ledger.cases == {}
    assert ledger.settled == {}
    assert list(ledger.left_over_checkpoints()) == ["u"]


def test_a_tombstone_erases_a_checkpoint() -> None:
    ledger = Ledger()
    ledger.checkpoint_record(b"u", encode(checkpoint()), offset=0)
    ledger.checkpoint_record(b"u", None, offset=1)
    assert ledger.checkpoints == {}


def test_records_that_cannot_be_read_are_skipped() -> None:
    ledger = Ledger()
    for value in (None, b"", b"{", b'{"type":"unheard_of"}', b"\xff"):
        ledger.event_record(value, offset=0)
        ledger.checkpoint_record(b"u", value, offset=0)
        ledger.progress_record(b"u", value, offset=0)
    ledger.event(opened(), offset=1)
    assert list(ledger.cases) == ["u"]

"""What becomes of one upload when reading or feeding it failed: outages end none, all else is bounded."""

import errno

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import UndecodableRecord
from services.ingest.feeder.failures import (
    DISK_FULL_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    MOST_TRIES_TO_FETCH,
    MOST_TRIES_WITH_FULL_DISK,
    Sizes,
    TryLater,
    decide,
)
from services.ingest.feeder.preparation.outcome import Refusal
from services.ingest.feeder.spool import DiskFull
from services.ingest.sending import RecordTooLarge

NO_SIZES = Sizes(0, 0)
sizes = st.builds(Sizes, st.integers(0, 2**50), st.integers(0, 2**50))


@given(st.integers(1, 10**9), sizes)
def test_an_outage_of_kafka_ends_no_upload(times: int, sizes: Sizes) -> None:
    decision = decide(KafkaConnectionError("x"), times=times, sizes=sizes)
    assert isinstance(decision, TryLater)
    assert 0 < decision.seconds <= LONGEST_PAUSE_SECONDS


@given(st.integers(1, 100), sizes)
def test_a_full_disk_ends_only_the_upload_that_fills_it(times: int, sizes: Sizes) -> None:
    decision = decide(DiskFull(), times=times, sizes=sizes)
    if times >= MOST_TRIES_WITH_FULL_DISK and sizes.own > sizes.others:
        assert isinstance(decision, Refusal)
        assert decision.code == "no-room"
    else:
        assert decision == TryLater(DISK_FULL_PAUSE_SECONDS, "the disk of SCRUB_DATA is full")


def test_a_file_that_is_not_given_out_is_asked_for_some_times() -> None:
    decisions = [decide(TimeoutError(), times=times, sizes=NO_SIZES) for times in range(1, MOST_TRIES_TO_FETCH + 1)]
    assert all(isinstance(decision, TryLater) for decision in decisions[:-1])
    assert isinstance(decisions[-1], Refusal)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RecordTooLarge(), "record-too-large"),
        (ValueError("4155550100"), "reading-failed"),
        (OverflowError(), "reading-failed"),
        (OSError(errno.EIO, "4155550100"), "reading-failed"),
        (UndecodableRecord("4155550100"), "reading-failed"),
        (AssertionError(), "reading-failed"),
    ],
)
def test_anything_else_ends_the_upload_and_repeats_nothing_of_the_file(error: Exception, code: str) -> None:
    decision = decide(error, times=1, sizes=NO_SIZES)
    assert isinstance(decision, Refusal)
    assert not isinstance(error, KafkaError)
    assert decision.code == code
    assert "4155550100" not in decision.detail

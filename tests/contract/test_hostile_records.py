"""Whatever the bytes are, the outcome is a message or a bad record, and both can be written again."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import pytest
from pydantic import BaseModel

from schemas import topics as registry
from schemas.codec import MAX_VALUE_BYTES, UndecodableRecord, decode, decode_one_of, encode
from schemas.rows import BadRecord, UploadRow, bad_record_of, decode_row
from schemas.topics import TOPICS, Topic
from schemas.upload_events import UPLOAD_EVENT, UploadEvent
from tests.fixtures.hostile import Hostile, hostile_records, some_hostile_records

NOW: Final = datetime(2026, 3, 1, 9, tzinfo=UTC)
"""The time in the examples."""
TIMESTAMP_MS: Final = int(NOW.timestamp() * 1000)
RECORDS: Final = 1_500
SEED: Final = 9
MOST_PUT_ASIDE_BYTES: Final = 64 * 1024
each_topic = pytest.mark.parametrize(
    "topic", [topic for topic in TOPICS if topic.messages], ids=lambda topic: topic.name
)


@dataclass(frozen=True, slots=True)
class Placed:
    """A record as it lies in a log."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


def read(record: Hostile) -> BaseModel | UploadEvent:
    """The message, as its topic's readers decode it."""
    if record.topic is registry.UPLOAD_EVENTS:
        return decode_one_of(UPLOAD_EVENT, record.value, what="upload event", timestamp_ms=TIMESTAMP_MS)
    (model,) = record.topic.messages
    return decode(model, record.value, timestamp_ms=TIMESTAMP_MS)


@pytest.mark.hostile
@each_topic
def test_bytes_are_a_message_or_a_bad_record(topic: Topic) -> None:
    messages = 0
    for record in some_hostile_records(topic, RECORDS, seed=SEED):
        try:
            message = read(record)
        except UndecodableRecord as error:
            assert_fits(put_aside(record, str(error)))
        else:
            messages += 1
            assert_written_again(message, topic)
    assert messages > 0, "the examples themselves, under odd keys"


def assert_written_again(message: BaseModel, topic: Topic) -> None:
    again = encode(message)
    assert len(again) <= MAX_VALUE_BYTES
    assert read(Hostile(topic, "again", None, again)) == message


def put_aside(record: Hostile, error: str) -> BadRecord:
    placed = Placed(3, 17, record.key, record.value)
    return bad_record_of(
        placed, topic=record.topic.name, role="worker", instance="1", reason="undecodable", error=error, at=NOW
    )


def assert_fits(bad: BadRecord) -> None:
    written = encode(bad)
    assert len(written) <= MOST_PUT_ASIDE_BYTES
    assert decode(BadRecord, written, timestamp_ms=TIMESTAMP_MS) == bad


def test_the_fast_way_to_read_a_row_takes_what_the_message_takes() -> None:
    outcomes = set()
    for record in hostile_records(registry.UPLOAD_ROWS):
        fast = slow = True
        try:
            fields = decode_row(record.value, timestamp_ms=TIMESTAMP_MS)
        except UndecodableRecord:
            fast = False
        try:
            row = decode(UploadRow, record.value, timestamp_ms=TIMESTAMP_MS)
        except UndecodableRecord:
            slow = False
        assert fast == slow, record.what
        if fast:
            assert UploadRow.model_validate(fields) == row
        outcomes.add(fast)
    assert outcomes == {True, False}

"""What the join makes of hostile records: a message that a database can store, or a record put aside."""

import json
from datetime import timedelta

import pytest

from schemas.codec import encode
from schemas.lookups import LookupResult
from schemas.rows import RejectedRow, RowError, UploadRow
from schemas.upload_events import UploadFed, UploadOpened
from schemas.uploads import PlanQuestion
from schemas.values import LATEST, MAX_INT32, MAX_INT64
from services.assembler.decoding import PartitionBatch, decode_partition
from services.assembler.store.fences import Offsets
from services.assembler.store.values import from_micros
from tests.fixtures.ids import upload_id
from tests.unit.assembler.join_log import PHONES, START, LogRecord, lookup_result

U = upload_id("u1")
PHONE = PHONES[0]
MS = int(START.timestamp() * 1000)
OPENED = UploadOpened(upload_id=U, at=START, by="jane", name="a.csv", owner="jane")
ROW = UploadRow(upload_id=U, row=1, phone=PHONE, cells=("a",), owner="jane", wanted_at=START, accept_since=START)
REJECTED = RejectedRow(upload_id=U, row=1, cells=("a",), error=RowError(code="no_phone"))
RESULT: LookupResult = lookup_result(PHONE, "ok", at=START, answers=[(U, 0)], calls=1)
QUESTION = PlanQuestion(upload_id=U, check_id="c", batch=0, last=True, accept_since=START, phones=(PHONE,))
GOOD = {
    "upload_rows": ROW,
    "rejected_rows": REJECTED,
    "lookup_results": RESULT,
    "upload_events": OPENED,
    "plan_questions": QUESTION,
}


def decoded(topic: str, value: bytes | None, *, key: bytes | None = b"k", ms: int = MS) -> PartitionBatch:
    batch = decode_partition(0, Offsets(), [(topic, [LogRecord(0, 0, ms, key, value)])])
    assert getattr(batch.end, topic) == 1
    return batch


def changed(topic: str, path: str, value: object) -> bytes:
    """The good message of a topic with one value replaced. `path`: keys and indexes, separated by dots."""
    document = json.loads(encode(GOOD[topic]))
    *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    inner = document
    for part in way:
        inner = inner[part]
    inner[last] = value
    return json.dumps(document).encode()


HOSTILE = [
    ("upload_rows", "upload_id", "bad id with blanks"),
    ("upload_rows", "row", MAX_INT32 + 1),
    ("upload_rows", "round", -1),
    ("upload_rows", "phone", "+1234567890123456"),
    ("upload_rows", "cells.0", None),
    ("upload_rows", "wanted_at", "2099-01-01T00:00:00Z"),
    ("upload_rows", "cells.0", "\ud800"),
    ("upload_rows", "owner", ""),
    ("rejected_rows", "line", 10**20),
    ("lookup_results", "phone", PHONE + "\x00"),
    ("lookup_results", "answers.0.upload_id", "bad id with blanks"),
    ("lookup_results", "calls.0.calls", 10**20),
    ("lookup_results", "attempts", -1),
    ("lookup_results", "data.carrier", "a\x00b"),
    ("lookup_results", "looked_up_at", "0001-01-01T00:00:00+14:00"),
    ("lookup_results", "looked_up_at", "9999-12-31T23:59:59-12:00"),
    ("upload_events", "at", "0001-01-01T00:00:00+14:00"),
    ("upload_events", "at", "2026-03-03T00:00:00Z"),
    ("upload_events", "by", "a\x00b"),
    ("upload_events", "bytes", 10**20),
    ("upload_events", "options.max_age_seconds", 10**11),
    ("upload_events", "upload_id", ".."),
    ("plan_questions", "check_id", "a\x00b"),
    ("plan_questions", "batch", 10**20),
    ("plan_questions", "phones.0", "\x00"),
]


@pytest.mark.parametrize("topic", GOOD)
def test_a_good_message_is_joined(topic: str) -> None:
    batch = decoded(topic, encode(GOOD[topic]))
    assert batch.undecodable == []
    assert len([*batch.rows, *batch.rejected, *batch.results, *batch.events, *batch.questions]) == 1


@pytest.mark.parametrize(("topic", "path", "value"), HOSTILE)
def test_a_value_that_no_part_takes_is_put_aside_without_being_repeated(topic: str, path: str, value: object) -> None:
    (bad,) = decoded(topic, changed(topic, path, value)).undecodable
    assert bad.topic == topic.replace("_", "-")
    assert PHONE not in bad.error


@pytest.mark.parametrize("field", ["rows", "rejected"])
def test_counts_that_no_database_stores_are_put_aside(field: str) -> None:
    fed = json.loads(encode(UploadFed(upload_id=U, at=START, rows=1, rejected=0)))
    assert decoded("upload_events", json.dumps(fed | {field: 10**20}).encode()).undecodable


@pytest.mark.parametrize("key", [None, b"", b"\xff\x00", b"no phone", b"+1415\x00", PHONE.encode() + b"|failed|failed"])
def test_a_null_value_whose_key_is_no_phone_erases_nothing(key: bytes | None) -> None:
    batch = decoded("lookup_results", None, key=key)
    assert (len(batch.undecodable), batch.results) == (1, [])


@pytest.mark.parametrize("key", [PHONE.encode(), PHONE.encode() + b"|failed"])
def test_a_null_value_erases_the_phone_of_its_key(key: bytes) -> None:
    (placed,) = decoded("lookup_results", None, key=key).results
    assert (placed.phone, placed.result) == (PHONE, None)


@pytest.mark.parametrize("ms", [-1, 0, MS, MAX_INT64])
def test_whatever_time_a_record_bears_a_database_can_store_it(ms: int) -> None:
    rejected, question = decoded("rejected_rows", encode(REJECTED), ms=ms), decoded("plan_questions", encode(QUESTION))
    (row,) = rejected.rejected
    assert from_micros(row.at) <= LATEST
    assert 0 <= row.place <= MAX_INT64
    assert from_micros(question.questions[0].at) == START


def test_a_time_ahead_of_its_record_by_less_than_a_day_is_taken() -> None:
    ahead = (START + timedelta(hours=23)).isoformat()
    assert decoded("upload_events", changed("upload_events", "at", ahead)).events

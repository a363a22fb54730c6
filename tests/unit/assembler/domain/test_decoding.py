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
from services.assembler.domain.decoding import PartitionBatch, decode_partition
from services.assembler.domain.positions import Offsets
from services.assembler.domain.stored_numbers import from_micros, row_place
from tests.fixtures.ids import upload_id
from tests.unit.assembler.join.join_log import PHONES, START, LogRecord, lookup_result

U = upload_id("u1")
PHONE = PHONES[0]
MS = int(START.timestamp() * 1000)
LATEST_MS = int(LATEST.timestamp() * 1000)
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


def test_a_usable_row_is_taken_as_its_record_says() -> None:
    full = ROW.model_copy(update={"row": 7, "line": 9, "round": 2, "cells": ("a", "é")})
    (row,) = decoded("upload_rows", encode(full)).rows
    assert row == (U, 7, 9, 2, PHONE, '["a","é"]', MS * 1000, row_place(MS, 0))
    least = json.loads(encode(ROW))
    for name in ("line", "round", "cells"):
        least.pop(name, None)
    (row,) = decoded("upload_rows", json.dumps(least).encode()).rows
    assert row == (U, 1, None, 0, PHONE, "[]", MS * 1000, row_place(MS, 0))


@pytest.mark.parametrize(("ms", "stored"), [(-1, 0), (0, 0), (MAX_INT64, LATEST_MS)])
def test_a_row_of_an_impossible_time_has_the_nearest_possible(ms: int, stored: int) -> None:
    row = json.loads(encode(ROW)) | {"wanted_at": "1970-01-01T00:00:00Z", "accept_since": "1970-01-01T00:00:00Z"}
    (usable,) = decoded("upload_rows", json.dumps(row).encode(), ms=ms).rows
    (unusable,) = decoded("rejected_rows", encode(REJECTED), ms=ms).rejected
    assert usable.at == unusable.at == stored * 1000
    assert usable.place == unusable.place == row_place(stored, 0)


def test_a_row_without_a_phone_is_taken_as_its_record_says() -> None:
    full = REJECTED.model_copy(update={"row": 7, "line": 9, "cells": ("a", "é")})
    batch = decode_partition(3, Offsets(), [("rejected_rows", [LogRecord(3, 0, MS, b"k", encode(full))])])
    (row,) = batch.rejected
    assert (row.upload_id, row.row, row.line, row.code, row.cells) == (U, 7, 9, "no_phone", '["a","é"]')
    assert RowError.model_validate_json(row.error) == REJECTED.error
    assert (row.at, row.place) == (MS * 1000, row_place(MS, 3))


def test_results_events_and_questions_keep_their_place_and_their_time() -> None:
    (placed,) = decoded("lookup_results", encode(RESULT)).results
    assert placed == (0, PHONE, RESULT, MS * 1000)
    (erased,) = decoded("lookup_results", None, key=PHONE.encode()).results
    assert erased == (0, PHONE, None, MS * 1000)
    assert decoded("upload_events", encode(OPENED)).events == [(0, OPENED)]
    assert decoded("plan_questions", encode(QUESTION)).questions == [(QUESTION, MS * 1000)]


def test_only_what_lies_behind_the_fence_is_read_and_the_fence_moves_there() -> None:
    records = [LogRecord(2, offset, MS, b"k", encode(ROW.model_copy(update={"row": offset}))) for offset in (3, 4, 8)]
    start = Offsets(upload_rows=4, upload_events=6)
    batch = decode_partition(2, start, [("upload_events", []), ("upload_rows", records), ("lookup_results", [])])
    assert ([row.row for row in batch.rows], batch.partition) == ([4, 8], 2)
    assert (batch.start, batch.end) == (start, start._replace(upload_rows=9))
    again = decode_partition(2, batch.end, [("upload_rows", records), ("upload_events", [])])
    assert (again.rows, again.end) == ([], batch.end)


@pytest.mark.parametrize("topic", GOOD)
def test_good_records_before_and_after_a_bad_one_are_read(topic: str) -> None:
    bodies = [encode(GOOD[topic]), b"{", encode(GOOD[topic])]
    records = [LogRecord(0, offset, MS, b"k", body) for offset, body in enumerate(bodies)]
    batch = decode_partition(0, Offsets(), [(topic, records)])
    assert len([*batch.rows, *batch.rejected, *batch.results, *batch.events, *batch.questions]) == 2
    assert [(bad.topic, bad.record) for bad in batch.undecodable] == [(topic.replace("_", "-"), records[1])]


@pytest.mark.parametrize(
    ("topic", "path"),
    [
        ("upload_rows", "wanted_at"),
        ("lookup_results", "looked_up_at"),
        ("upload_events", "at"),
        ("plan_questions", "accept_since"),
    ],
)
def test_times_may_not_be_ahead_of_the_record(topic: str, path: str) -> None:
    ahead = (START + timedelta(days=2)).isoformat()
    (bad,) = decoded(topic, changed(topic, path, ahead)).undecodable
    assert "time_ahead" in bad.error, "whoever looks at it is told what is wrong"

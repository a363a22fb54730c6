"""Both agents of the worker on their real table: what they publish, and that no record ends a batch."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiokafka import ConsumerRecord
from aiokafka.errors import KafkaConnectionError

from schemas import topics
from schemas.codec import encode
from schemas.rows import KEPT_BYTES
from services.lookup.worker import look_up
from services.lookup.worker.phones_table import PlacedUpdate, TableError
from services.lookup.worker.request_policy import WantedRow
from services.runtime.partitions import partition_of
from tests.fixtures.hostile import some_hostile_records
from tests.unit.lookup.gate.requests import phone
from tests.unit.lookup.worker.worker_parts import (
    PARTITIONS,
    Taken,
    WorkerParts,
    a_result,
    a_row,
    at,
    ms,
    record,
    result_record,
    row_record,
    worker_parts,
)


def home(of: str) -> int:
    return partition_of(of.encode(), PARTITIONS)


def rows_of(*phones: str, upload: str = "u1", round_: int = 0) -> list[ConsumerRecord]:
    return [
        row_record(a_row(of, upload=upload, round_=round_, number=n), partition=home(of), offset=n)
        for n, of in enumerate(phones, 1)
    ]


@pytest.fixture
def parts(tmp_path: Path) -> WorkerParts:
    return worker_parts(tmp_path)


def failing_on(phone_: str) -> Callable[..., object]:
    """Work that fails on one phone, as a defect would."""
    requests_for: Callable[..., object] = vars(look_up)["requests_for"]

    def work(rows: Iterable[WantedRow], **more: object) -> object:
        read = list(rows)
        if any(row.phone == phone_ for row in read):
            raise StopIteration(phone_)
        return requests_for(read, **more)

    return work


async def test_only_unknown_phones_are_asked_for(parts: WorkerParts) -> None:
    known, unknown = phone(1), phone(2)
    await parts.remember.work([result_record(a_result(known), partition=home(known))])
    await parts.look_up.work(rows_of(known, unknown))
    assert [request.phone for request in parts.taken.requests()] == [unknown]


async def test_a_failed_upload_and_round_is_not_asked_for_again_by_a_worker_that_lost_its_offsets(
    parts: WorkerParts, tmp_path: Path
) -> None:
    failed = phone(1)
    result = a_result(failed, outcome="failed", answers=[("u1", 1)])
    await parts.remember.work([result_record(result, partition=home(failed))])
    await parts.look_up.work([*rows_of(failed), *rows_of(failed, round_=1)])
    assert parts.taken.requests() == []
    await parts.look_up.work([*rows_of(failed, upload="u2"), *rows_of(failed, round_=2)])
    assert len(parts.taken.requests()) == 2

    rebuilt = worker_parts(tmp_path / "another")
    for (topic, partition), changes in parts.taken.logs.items():
        if topic == topics.LOOKUP_PHONES_CHANGELOG.name:
            rebuilt.phones._write(partition, [(key, value) for key, value in changes if key is not None])
    assert rebuilt.phones.known(home(failed), [failed]) == parts.phones.known(home(failed), [failed])


async def test_an_erased_phone_is_unknown_again_and_hostile_keys_are_put_aside(parts: WorkerParts) -> None:
    of = phone(1)
    await parts.remember.work([result_record(a_result(of), partition=home(of))])
    hostile = [b"\xff", b"__faust\0offset__", b"+" + b"1" * 1_000_000, None]
    nulls = [record(topics.LOOKUP_RESULTS, None, key=key, offset=n) for n, key in enumerate(hostile)]
    await parts.remember.work([*nulls, record(topics.LOOKUP_RESULTS, None, key=of.encode(), partition=home(of))])
    assert parts.phones.known(home(of), [of]) == {}
    bad = parts.taken.bad()
    assert [(b.offset, b.reason, b.role) for b in bad] == [(n, "undecodable", "worker") for n in range(4)]
    assert [len(b.key or b"") for b in bad] == [1, 16, KEPT_BYTES, 0]


async def test_every_misplaced_row_goes_where_its_phone_belongs_and_no_other(parts: WorkerParts) -> None:
    known, unknown, at_home = phone(1), phone(2), phone(3)
    await parts.remember.work([result_record(a_result(known), partition=home(known))])
    wrong = [
        row_record(a_row(of, again=again), partition=(home(of) + 1) % PARTITIONS)
        for of in (known, unknown)
        for again in (False, True)
    ]
    await parts.look_up.work([*wrong, *rows_of(at_home, known)])
    published = {
        (key, partition): value
        for (topic, partition), records in parts.taken.logs.items()
        if topic == topics.UPLOAD_ROWS.name
        for key, value in records
    }
    assert published.keys() == {(of.encode(), home(of)) for of in (known, unknown)}
    assert sum(1 for _ in parts.taken.values(topics.UPLOAD_ROWS)) == len(wrong)
    assert [request.phone for request in parts.taken.requests()] == [at_home]


async def test_rows_that_cannot_be_read_are_put_aside_with_their_first_bytes_and_the_rest_goes_on(
    parts: WorkerParts,
) -> None:
    good = phone(1)
    values = [
        b"x" * 900_000,
        b"y" * 3_000_000,
        encode(a_row(good)).replace(b'["Jane Example"', b"[1,null"),
        encode(a_row(good, wanted_at=datetime(2099, 1, 1, tzinfo=UTC))),
    ]
    bad_rows = [record(topics.UPLOAD_ROWS, value, key=b"k", offset=n) for n, value in enumerate(values)]
    await parts.look_up.work([*bad_rows, *rows_of(good)])
    bad = sorted(parts.taken.bad(), key=lambda b: b.offset)
    assert [(b.reason, b.bytes_) for b in bad] == [("undecodable", len(value)) for value in values]
    assert [b.value for b in bad] == [value[:KEPT_BYTES] for value in values]
    assert [request.phone for request in parts.taken.requests()] == [good]


async def test_thousands_of_bad_records_are_put_aside(parts: WorkerParts) -> None:
    await parts.look_up.work([record(topics.UPLOAD_ROWS, b"[]", offset=n) for n in range(3_000)])
    assert sorted(b.offset for b in parts.taken.bad()) == list(range(3_000))


async def test_a_row_that_the_work_fails_on_is_put_aside_and_no_other(
    parts: WorkerParts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    phones = [phone(number) for number in range(100)]
    monkeypatch.setattr(look_up, "requests_for", failing_on(phones[37]))
    with caplog.at_level(logging.INFO):
        await parts.look_up.work(rows_of(*phones))
    (bad,) = parts.taken.bad()
    # Python turns a StopIteration that leaves a coroutine into a RuntimeError.
    assert (bad.offset, bad.reason, bad.error) == (38, "failed", "RuntimeError")
    assert {request.phone for request in parts.taken.requests()} == {*phones} - {phones[37]}
    assert len(parts.taken.requests()) == 99
    assert "put aside 1 records" in caplog.text
    assert phones[37] not in caplog.text


async def test_a_result_that_the_work_fails_on_is_put_aside_and_no_other(
    parts: WorkerParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    phones = [phone(number) for number in range(50)]
    remembers = parts.phones.remember

    async def fails(heard: list[PlacedUpdate]) -> None:
        if any(each.phone == phones[7] for each in heard):
            raise OverflowError
        await remembers(heard)

    monkeypatch.setattr(parts.phones, "remember", fails)
    await parts.remember.work(
        [result_record(a_result(of), partition=home(of), offset=n) for n, of in enumerate(phones)]
    )
    assert [(b.offset, b.reason, b.error) for b in parts.taken.bad()] == [(7, "failed", "OverflowError")]
    await parts.look_up.work(rows_of(*phones))
    assert [request.phone for request in parts.taken.requests()] == [phones[7]]


async def test_a_misplaced_row_that_kafka_refuses_for_its_size_is_put_aside_alone(tmp_path: Path) -> None:
    parts = worker_parts(tmp_path, Taken(largest_bytes=100_000))
    large, small = phone(1), phone(2)
    wide = a_row(large).model_copy(update={"cells": ("x" * 200_000,)})
    wrong = [
        row_record(row, partition=(home(row.phone) + 1) % PARTITIONS, offset=n)
        for n, row in enumerate([wide, a_row(small)])
    ]
    await parts.look_up.work([*wrong, *rows_of(phone(3))])
    assert [(b.offset, b.reason, b.bytes_) for b in parts.taken.bad()] == [(0, "too_large", len(encode(wide)))]
    assert sum(1 for _ in parts.taken.values(topics.UPLOAD_ROWS)) == 1
    assert [request.phone for request in parts.taken.requests()] == [phone(3)]


async def test_what_is_put_aside_is_written_without_its_bytes_where_they_are_too_many(tmp_path: Path) -> None:
    parts = worker_parts(tmp_path, Taken(largest_bytes=5_000))
    await parts.look_up.work([record(topics.UPLOAD_ROWS, value, offset=len(value)) for value in (b"x" * 9_000, b"[]")])
    assert {(b.offset, b.value) for b in parts.taken.bad()} == {(9_000, None), (2, b"[]")}


@pytest.mark.parametrize("error", [KafkaConnectionError(), TableError(), OSError()])
async def test_an_outage_is_no_records_fault(
    parts: WorkerParts, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def fails(_: object, __: object) -> dict[int, int]:
        raise error

    monkeypatch.setattr(parts.taken, "publish", fails)
    with pytest.raises(type(error)):
        await parts.look_up.work(rows_of(phone(1), phone(2)))


async def test_a_batch_full_of_culprits_is_long_work_and_no_standstill(
    parts: WorkerParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watchdog ends a worker whose progress does not change for a minute; each attempt changes it."""
    seen = set()

    async def fails(_: object) -> None:
        seen.add(parts.progress._done())
        raise ValueError

    monkeypatch.setattr(parts.look_up, "_look_up", fails)
    await parts.look_up.work(rows_of(*[phone(number) for number in range(16)]))
    assert len(seen) == 31
    assert len(parts.taken.bad()) == 16


async def test_a_batch_tried_again_by_halves_asks_for_each_phone_once(
    parts: WorkerParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole batch's requests are there when something after them fails; the halves find them sent."""
    phones = [phone(number) for number in range(8)]
    add = parts.look_up._sent.add
    failures = iter([True])

    def fails_once(keys: object) -> None:
        add(keys)  # type: ignore[arg-type]  # keys of several kinds
        if next(failures, False):
            raise ValueError

    monkeypatch.setattr(parts.look_up._sent, "add", fails_once)
    await parts.look_up.work(rows_of(*phones))
    assert next(failures, None) is None
    assert sorted(request.phone for request in parts.taken.requests()) == sorted(phones)
    assert parts.taken.bad() == []


async def test_a_value_of_the_table_that_cannot_be_read_counts_as_unknown_and_is_replaced(parts: WorkerParts) -> None:
    of = phone(1)
    parts.phones._write(home(of), [(of.encode(), b"\xff not ours")])
    await parts.look_up.work(rows_of(of))
    assert [request.phone for request in parts.taken.requests()] == [of]
    await parts.remember.work([result_record(a_result(of), partition=home(of))])
    assert parts.phones.known(home(of), [of])[of].has_data


async def test_the_work_on_results_ends_only_once_the_changelog_has_them(parts: WorkerParts) -> None:
    of = phone(1)
    parts.taken.acknowledge.clear()
    working = asyncio.create_task(parts.remember.work([result_record(a_result(of), partition=home(of))]))
    while not list(parts.taken.values(topics.LOOKUP_PHONES_CHANGELOG)):
        await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0)
    assert not working.done()
    parts.taken.acknowledge.set()
    await working


async def test_what_is_there_already_is_written_to_the_changelog_all_the_same(parts: WorkerParts) -> None:
    """After a crash between the two the table is ahead of its changelog, and reading the result again mends that."""
    of = phone(1)
    for _ in range(2):
        await parts.remember.work([result_record(a_result(of), partition=home(of))])
    assert len(list(parts.taken.values(topics.LOOKUP_PHONES_CHANGELOG))) == 2


async def test_the_work_on_rows_ends_only_once_their_requests_are_acknowledged(parts: WorkerParts) -> None:
    of = phone(1)
    parts.taken.acknowledge.clear()
    working = asyncio.create_task(parts.look_up.work(rows_of(of)))
    while not parts.taken.requests():
        await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0)
    assert not working.done()
    assert len(parts.look_up._sent) == 0
    parts.taken.acknowledge.set()
    await working
    assert len(parts.look_up._sent) == 1


async def test_a_swept_row_is_asked_for_when_its_failure_is_older_than_the_sweep(parts: WorkerParts) -> None:
    of = phone(1)
    result = a_result(of, outcome="failed", answers=[("u1", 0)])
    await parts.remember.work([result_record(result, partition=home(of), recorded_at=at(10))])
    for seconds in (5, 60):
        await parts.look_up.work([row_record(a_row(of, again=True), partition=home(of), published_at=at(seconds))])
        assert len(parts.taken.requests()) == (seconds > 10)


TIME_OF_EXAMPLES = datetime(2026, 3, 1, 9, tzinfo=UTC)


@pytest.mark.parametrize("seed", range(3))
async def test_no_hostile_record_ends_a_batch_and_what_cannot_be_read_is_put_aside_once(
    parts: WorkerParts, seed: int
) -> None:
    for topic, work in ((topics.UPLOAD_ROWS, parts.look_up.work), (topics.LOOKUP_RESULTS, parts.remember.work)):
        hostile = some_hostile_records(topic, 600, seed=seed)
        batch = [
            record(topic, each.value, key=each.key, offset=n, timestamp_ms=ms(TIME_OF_EXAMPLES))
            for n, each in enumerate(hostile)
        ]
        await work(batch)
        bad = [b for b in parts.taken.bad() if b.topic == topic.name]
        assert {b.reason for b in bad} == {"undecodable"}
        assert len({b.offset for b in bad}) == len(bad) < len(batch)

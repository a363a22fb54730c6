"""The lookup worker on a real broker: no record of any kind or size ends it, and each costs only its own unit."""

import os
from collections.abc import Iterable

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from schemas.codec import decode, encode
from schemas.rows import KEPT_BYTES, BadRecord, UploadRow
from schemas.topics import (
    BAD_RECORDS,
    LOOKUP_PHONES_CHANGELOG,
    LOOKUP_REQUESTS,
    LOOKUP_RESULTS,
    UPLOAD_ROWS,
    Topic,
)
from services.runtime.kafka import started, topic_name
from services.runtime.process import EXIT_CRASHED
from tests.fixtures.hostile import some_hostile_records
from tests.integration.failing_worker import FAILING_RESULT, FAILING_ROW, FULL_DISK
from tests.integration.worker_process import (
    PARTITIONS,
    UPLOAD,
    Cluster,
    StartWorker,
    WorkerProcess,
    a_result,
    a_row,
    all_read,
    phone,
)
from tests.support.waiting import eventually

pytestmark = pytest.mark.hostile

MIB = 1024 * 1024


async def put_compressed(cluster: Cluster, topic: Topic, partition: int, values: Iterable[bytes | None]) -> list[int]:
    """Writes values that are large only until they are compressed; returns their offsets."""
    producer = AIOKafkaProducer(
        bootstrap_servers=cluster.settings.kafka, compression_type="gzip", max_request_size=64 * MIB
    )
    name = topic_name(topic, cluster.settings)
    async with started(producer):
        return [
            int((await producer.send_and_wait(name, value, key=b"k", partition=partition)).offset) for value in values
        ]


async def bad_records(cluster: Cluster) -> list[BadRecord]:
    return [decode(BadRecord, record.value) for record in await cluster.records(BAD_RECORDS)]


async def wrong_partition(cluster: Cluster, of: str) -> int:
    return (await cluster.partition_of(of) + 1) % PARTITIONS


def is_alive(worker: WorkerProcess) -> bool:
    return worker.process is not None and worker.process.poll() is None


def wide(row: UploadRow, cell: str) -> UploadRow:
    return row.model_copy(update={"cells": (cell,)})


async def test_records_of_any_size_are_put_aside_or_put_right_and_end_nothing(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    noise = os.urandom(900_000)
    await cluster.put(UPLOAD_ROWS, 0, noise, b"k" * 100_000)
    await cluster.put(LOOKUP_RESULTS, 1, noise, b"k")
    over = encode(wide(a_row(1, phone(1)), "x" * 3 * MIB))
    largest = encode(wide(a_row(2, phone(2)), "x" * (1_000_000 - len(encode(wide(a_row(2, phone(2)), ""))))))
    assert len(largest) == 1_000_000
    await put_compressed(cluster, UPLOAD_ROWS, await wrong_partition(cluster, phone(1)), [over])
    await put_compressed(cluster, UPLOAD_ROWS, await wrong_partition(cluster, phone(2)), [largest])
    await cluster.add_rows([a_row(3, phone(3))])
    worker = start_worker()
    await all_read(cluster)
    assert is_alive(worker)
    bad = await bad_records(cluster)
    assert {(b.reason, b.bytes_) for b in bad} == {("undecodable", len(noise)), ("undecodable", len(over))}
    assert all(len(b.value or b"") == KEPT_BYTES and len(b.key or b"") <= KEPT_BYTES for b in bad)
    assert sorted(request.phone for request in await cluster.requests()) == [phone(2), phone(3)]


async def test_thousands_of_hostile_records_in_a_row_are_put_aside_and_the_rest_goes_on(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    good = encode(a_row(1, phone(1)))
    hostile = [
        b"",
        b"\xff\x00",
        b"[" * 10_000,
        b'{"upload_id":' + b"9" * 5_000 + b"}",
        good.replace(UPLOAD.encode(), b"bad id with blanks"),
        good.replace(UPLOAD.encode(), b"../../etc"),
        good.replace(b'"row":1', b'"row":100000000000000000000'),
        good.replace(b'"round":0', b'"round":-1'),
        good.replace(b'"owner":"local"', b'"owner":"' + b"x" * 500_000 + b'"'),
        good.replace(b'"cells":["Jane Example"', b'"cells":[1,null'),
        good.replace(b"2026-01-01T00:00:00Z", b"2099-01-01T00:00:00Z"),
        good.replace(b"2026-01-01T00:00:00Z", b"0001-01-01T00:00:00+14:00"),
        good.replace(b"2026-01-01T00:00:00Z", b"9999-12-31T23:59:59-12:00"),
        good.replace(phone(1).encode(), b"+4923125122123456"),
        None,
    ]
    assert len({good, *hostile}) == len(hostile) + 1
    await put_compressed(cluster, UPLOAD_ROWS, 0, hostile * 200)
    keys = [b"\xff\xfe", b"__faust\0offset__", b"+" + b"1" * 900_000, phone(1).encode() + b"\0"]
    for key in keys:
        await cluster.put(LOOKUP_RESULTS, 0, None, key)  # type: ignore[arg-type]  # hostile on purpose
    await cluster.add_rows([a_row(3, phone(3))])
    worker = start_worker()
    await all_read(cluster)
    assert is_alive(worker)
    bad = await bad_records(cluster)
    assert len(bad) == len(hostile) * 200 + len(keys)
    assert {(b.reason, b.role, b.seen_by) for b in bad} == {("undecodable", "worker", "worker-1")}
    assert [request.phone for request in await cluster.requests()] == [phone(3)]


async def test_hostile_records_on_the_tables_own_changelog_leave_phones_unknown_and_end_nothing(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    """Nobody else may write there; whoever does costs a call more at worst. The worker recovers, and follows it."""
    phones = [phone(number) for number in range(1, 9)]
    hostile = some_hostile_records(LOOKUP_PHONES_CHANGELOG, 300, seed=5)
    pairs = [(each.key, each.value) for each in hostile if each.key and len(each.value or b"") < 500_000]
    pairs += [(b"__faust\0offset__", b"no number"), (b"__faust\0offset__", None)]

    async def pour() -> None:
        for of in phones[:4]:
            await cluster.put(LOOKUP_PHONES_CHANGELOG, await cluster.partition_of(of), b"\xff", of.encode())
        for number, (key, value) in enumerate(pairs):
            # Hostile on purpose.
            await cluster.put(LOOKUP_PHONES_CHANGELOG, number % PARTITIONS, value, key)  # type: ignore[arg-type]

    await pour()
    first = start_worker("1")
    await cluster.add_results(a_result(of) for of in phones[4:])
    await all_read(cluster)
    second = start_worker("2")
    await pour()
    await cluster.add_rows(a_row(number, of) for number, of in enumerate(phones, 1))
    await all_read(cluster)
    assert is_alive(first)
    assert is_alive(second)
    assert {request.phone for request in await cluster.requests()} == {*phones[:4]}


async def test_rows_that_a_broker_with_a_lower_limit_refuses_are_put_aside_and_others_are_put_right(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    """The idempotent producer that was refused a record is of no more use for its partition: others must get there."""
    large, small, later = phone(1), phone(2), phone(3)
    noise = os.urandom(150_000).hex()
    await cluster.put(UPLOAD_ROWS, await wrong_partition(cluster, large), encode(wide(a_row(1, large), noise)))
    for of in (small, large):
        await cluster.put(UPLOAD_ROWS, await wrong_partition(cluster, of), encode(a_row(2, of)))
    resource = ConfigResource(
        ConfigResourceType.TOPIC,
        topic_name(UPLOAD_ROWS, cluster.settings),
        configs={"max.message.bytes": "100000", "message.timestamp.type": "LogAppendTime"},
    )
    await cluster.admin.alter_configs([resource])
    worker = start_worker()
    await all_read(cluster)
    (bad,) = await bad_records(cluster)
    assert (bad.reason, bad.error, bad.partition) == (
        "too_large",
        "MessageSizeTooLargeError",
        await wrong_partition(cluster, large),
    )
    for of in (later, large):
        await cluster.put(UPLOAD_ROWS, await wrong_partition(cluster, of), encode(a_row(3, of)))
    await all_read(cluster)
    assert is_alive(worker)
    assert {request.phone for request in await cluster.requests()} == {large, small, later}
    assert len(await bad_records(cluster)) == 1


async def test_a_record_that_the_work_fails_on_is_put_aside_by_either_agent(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    phones = [phone(number) for number in range(30)]
    await cluster.add_results(a_result(of) for of in phones[15:19])
    await cluster.add_rows(a_row(number, of) for number, of in enumerate(phones, 1))
    worker = start_worker("1", "tests.integration.failing_worker")
    await all_read(cluster)
    assert is_alive(worker)
    bad = await bad_records(cluster)
    assert {(b.topic.removeprefix(cluster.settings.topic_prefix), b.reason, b.error) for b in bad} == {
        (UPLOAD_ROWS.name, "failed", "OverflowError"),
        (LOOKUP_RESULTS.name, "failed", "KeyError"),
    }
    asked = sorted(request.phone for request in await cluster.requests())
    assert asked == sorted({*phones[:15], *phones[19:], FAILING_RESULT} - {FAILING_ROW})
    assert FAILING_ROW not in worker.log.read_text()
    assert FAILING_RESULT not in worker.log.read_text()


async def test_a_table_that_fails_ends_the_worker_with_a_last_word_and_nothing_is_put_aside(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    await cluster.add_results([a_result(FULL_DISK)])
    failing = start_worker("1", "tests.integration.failing_worker")

    async def has_ended() -> bool:
        return failing.process is not None and failing.process.poll() == EXIT_CRASHED

    await eventually(has_ended, what="the worker to end")
    last_word = (await cluster.workers())["1"]
    assert (last_word.state, last_word.error) == ("stopping", "ended by TableError")
    start_worker("1")
    await cluster.add_rows([a_row(1, FULL_DISK)])
    await all_read(cluster)
    assert await bad_records(cluster) == []
    assert await cluster.end(LOOKUP_REQUESTS) == 0


async def test_no_row_is_taken_while_the_results_of_the_start_are_not_remembered(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    phones = [phone(number) for number in range(200)]
    await cluster.add_results(a_result(of) for of in phones)
    await cluster.add_rows(a_row(number, of) for number, of in enumerate(phones, 1))
    start_worker("1", "tests.integration.held_worker")
    await all_read(cluster)
    assert await cluster.end(LOOKUP_REQUESTS) == 0

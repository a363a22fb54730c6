"""The lookup worker on a real broker: what it asks for, what it leaves alone, and what survives a kill."""

import itertools
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from schemas.codec import decode
from schemas.rows import BadRecord
from schemas.settings import Settings
from schemas.topics import BAD_RECORDS, LOOKUP_PHONES_CHANGELOG, LOOKUP_REQUESTS, LOOKUP_RESULTS, UPLOAD_ROWS
from services.runtime.process import EXIT_CRASHED
from tests.integration.worker_process import (
    NOW,
    UPLOAD,
    Cluster,
    WorkerProcess,
    a_result,
    a_row,
    on_cluster,
    phone,
    wait_until,
)

PARTITIONS = 4
StartWorker = Callable[..., WorkerProcess]


@pytest.fixture
async def cluster(broker: str, topics: str) -> AsyncIterator[Cluster]:
    async with on_cluster(Settings(kafka=broker, topic_prefix=topics, partitions=PARTITIONS)) as cluster:
        yield cluster


@pytest.fixture
def start_worker(cluster: Cluster, tmp_path: Path) -> Iterator[StartWorker]:
    """Starts workers; the log of each is shown when the test fails, and each is ended with the test."""
    workers: list[WorkerProcess] = []

    def start(instance: str = "1", *command: str) -> WorkerProcess:
        worker = WorkerProcess(cluster.settings, tmp_path, instance)
        worker.command = command or worker.command
        workers.append(worker)
        worker.start()
        return worker

    yield start
    for worker in workers:
        worker.end()
        print(f"worker {worker.instance}:\n{worker.log.read_text()}")


async def all_read(cluster: Cluster) -> None:
    await wait_until(cluster.is_all_read, what="the workers to read everything")


async def test_nothing_is_asked_when_all_phones_are_known(cluster: Cluster, start_worker: StartWorker) -> None:
    phones = [phone(number) for number in range(500)]
    await cluster.add_results(a_result(of, outcome="not_valid" if of.endswith("7") else "ok") for of in phones)
    await cluster.add_rows(a_row(number + 1, phones[number % 500]) for number in range(5_000))
    start_worker()
    await all_read(cluster)
    assert await cluster.end(LOOKUP_REQUESTS) == 0


async def test_rows_wait_until_all_results_of_the_start_are_remembered(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    await cluster.add_rows(a_row(number + 1, phone(9_999 - number)) for number in range(1_000))
    await cluster.add_results(a_result(phone(number)) for number in range(10_000))
    start_worker()
    await all_read(cluster)
    assert await cluster.end(LOOKUP_REQUESTS) == 0


async def test_rows_also_wait_when_partitions_move_before_the_results_are_remembered(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    await cluster.add_rows(a_row(number + 1, phone(9_999 - number)) for number in range(10_000))
    await cluster.add_results(a_result(phone(number)) for number in range(10_000))
    start_worker("1")
    start_worker("2")
    await all_read(cluster)
    assert await cluster.end(LOOKUP_REQUESTS) == 0


async def test_an_unknown_phone_is_asked_for_once_though_it_comes_a_thousand_times(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    await cluster.add_rows(a_row(number, phone(1)) for number in range(1, 1_001))
    start_worker()
    await all_read(cluster)
    await cluster.add_rows(a_row(number, phone(1)) for number in range(1_001, 1_101))
    await all_read(cluster)
    (request,) = await cluster.requests()
    assert (request.phone, request.upload_id, request.round, request.accept_since) == (
        phone(1),
        UPLOAD,
        0,
        NOW - timedelta(days=30),
    )


async def test_what_answers_and_what_does_not(cluster: Cluster, start_worker: StartWorker) -> None:
    fresh, stale, failed, unknown, erased = (phone(number) for number in range(5))
    await cluster.add_results(
        [
            a_result(fresh),
            a_result(stale, looked_up_at=NOW - timedelta(days=31)),
            a_result(failed, outcome="failed"),
            a_result(erased),
        ]
    )
    await cluster.erase(erased)
    start_worker()
    await all_read(cluster)
    await cluster.add_rows(a_row(number, of) for number, of in enumerate([fresh, stale, failed, unknown, erased], 1))
    await all_read(cluster)
    assert {request.phone for request in await cluster.requests()} == {stale, failed, unknown, erased}

    await cluster.add_results([a_result(unknown), a_result(failed), a_result(failed, outcome="failed")])
    await all_read(cluster)
    asked_before = await cluster.end(LOOKUP_REQUESTS)
    await cluster.add_rows([a_row(1, unknown, upload_id="another"), a_row(2, failed, upload_id="another")])
    await all_read(cluster)
    assert await cluster.end(LOOKUP_REQUESTS) == asked_before


async def test_a_row_that_comes_again_passes_the_memory_of_what_was_sent(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    start_worker()
    for row in (a_row(1, phone(1)), a_row(1, phone(1), again=True), a_row(1, phone(1), again=True, round_=1)):
        await cluster.add_rows([row])
        await all_read(cluster)
    assert [request.round for request in await cluster.requests()] == [0, 0, 1]


async def test_rows_in_a_wrong_partition_are_put_right_and_asked_for_once(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    known, unknown = phone(1), phone(2)
    await cluster.add_results([a_result(known)])
    for number, of in enumerate((known, unknown), 1):
        wrong = (await cluster.partition_of(of) + 1) % PARTITIONS
        await cluster.put(UPLOAD_ROWS, wrong, a_row(number, of).model_dump_json().encode(), key=b"not the phone")
    start_worker()
    await all_read(cluster)
    rows = await cluster.records(UPLOAD_ROWS)
    right = {(record.key, record.partition) for record in rows if record.key != b"not the phone"}
    assert right == {(of.encode(), await cluster.partition_of(of)) for of in (known, unknown)}
    assert [request.phone for request in await cluster.requests()] == [unknown]


async def test_records_that_cannot_be_read_are_put_aside_and_stop_nothing(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    garbage = [(UPLOAD_ROWS, 0, b"\xff not json"), (UPLOAD_ROWS, 1, b'{"phone":"12"}'), (LOOKUP_RESULTS, 2, b"[]")]
    places = [
        (topic.name, partition, await cluster.put(topic, partition, value, b"k")) for topic, partition, value in garbage
    ]
    await cluster.add_rows(a_row(number, phone(number)) for number in range(1, 21))
    start_worker()
    await all_read(cluster)
    bad = [decode(BadRecord, record.value) for record in await cluster.records(BAD_RECORDS)]
    prefix = cluster.settings.topic_prefix
    assert {(b.topic.removeprefix(prefix), b.partition, b.offset) for b in bad} == set(places)
    assert {(b.key, b.value) for b in bad} == {(b"k", value) for *_, value in garbage}
    assert {request.phone for request in await cluster.requests()} == {phone(number) for number in range(1, 21)}


async def test_a_kill_in_the_middle_loses_no_row_and_asks_for_nothing_known(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    known, unknown = [phone(n) for n in range(2_000)], [phone(n) for n in range(2_000, 4_000)]
    await cluster.add_results(a_result(of) for of in known)
    mixed = [of for pair in zip(known, unknown, strict=True) for of in pair]
    await cluster.add_rows(a_row(number, of) for number, of in enumerate(mixed * 5, 1))
    worker = start_worker()

    async def has_begun() -> bool:
        return await cluster.end(LOOKUP_REQUESTS) > 0

    await wait_until(has_begun, what="the first requests")
    worker.kill()
    worker.start()
    await all_read(cluster)
    assert {request.phone for request in await cluster.requests()} == set(unknown)


async def test_a_lost_folder_is_rebuilt_from_the_changelog(
    cluster: Cluster, start_worker: StartWorker, tmp_path: Path
) -> None:
    await cluster.add_results(a_result(phone(number)) for number in range(3_000))
    worker = start_worker()
    await all_read(cluster)
    worker.kill()
    shutil.rmtree(tmp_path / "worker-1")
    worker.start()
    await cluster.add_rows(a_row(number + 1, phone(number)) for number in range(3_001))
    await all_read(cluster)
    assert [request.phone for request in await cluster.requests()] == [phone(3_000)]


async def test_a_table_ahead_of_its_changelog_is_removed_and_the_worker_works_again(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    """As after a changelog that was deleted and made again. What it held has to be read again: see the runbook."""
    await cluster.add_results(a_result(phone(number)) for number in range(3_000))
    worker = start_worker()
    await all_read(cluster)
    assert worker.stop() == 0
    await cluster.make_again(LOOKUP_PHONES_CHANGELOG)
    worker.start()

    async def has_ended() -> bool:
        return worker.process is not None and worker.process.poll() == EXIT_CRASHED

    await wait_until(has_ended, what="the worker to find its table ahead of the changelog")
    assert "ahead of its changelog" in worker.log.read_text()
    worker.start()
    await cluster.add_results([a_result(phone(3_000))])
    await cluster.add_rows([a_row(1, phone(3_000)), a_row(2, phone(3_001))])
    await all_read(cluster)
    assert [request.phone for request in await cluster.requests()] == [phone(3_001)]


async def test_a_second_worker_shares_the_work_and_takes_over_after_a_kill(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    known, unknown = [phone(n) for n in range(1_000)], [phone(n) for n in range(1_000, 2_000)]
    await cluster.add_results(a_result(of) for of in known)
    first = start_worker("1")
    await all_read(cluster)
    start_worker("2")

    async def both_work() -> bool:
        workers = await cluster.workers()
        return len(workers) == 2 and all(sign.state == "running" and sign.active for sign in workers.values())

    await wait_until(both_work, what="both workers to have partitions")
    await cluster.add_rows(a_row(n, of) for n, of in enumerate(known + unknown, 1))
    await all_read(cluster)
    first.kill()
    await cluster.add_rows(a_row(n, of, upload_id="another") for n, of in enumerate(known + unknown, 1))
    await all_read(cluster)
    asked = {(request.phone, request.upload_id) for request in await cluster.requests()}
    assert asked == {(of, upload) for of in unknown for upload in (UPLOAD, "another")}


async def test_rows_that_come_while_partitions_are_taken_over_are_read(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    """A fetch that is under way while a worker goes to where each partition was left must lose nothing."""
    slow = start_worker("1", "tests.integration.slow_seek_worker")
    numbers = itertools.count(1)

    def went_on() -> int:
        return slow.log.read_text().count("goes on with")

    async def has_begun() -> bool:
        return went_on() >= 3 * PARTITIONS

    async def has_begun_anew() -> bool:
        await cluster.add_rows([a_row(number, phone(number)) for number in itertools.islice(numbers, 8)])
        return went_on() >= 5 * PARTITIONS

    await wait_until(has_begun, what="the worker to begin with all partitions")
    start_worker("2")
    await wait_until(has_begun_anew, what="the worker to begin anew with the half that it keeps")
    await all_read(cluster)
    asked = {request.phone for request in await cluster.requests()}
    assert asked == {phone(number) for number in range(1, next(numbers))}


async def test_a_worker_told_to_stop_ends_soon_and_leaves_nothing_undone(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    unknown = [phone(number) for number in range(3_000)]
    await cluster.add_rows(a_row(number, of) for number, of in enumerate(unknown, 1))
    worker = start_worker()

    async def has_begun() -> bool:
        return await cluster.end(LOOKUP_REQUESTS) > 0

    await wait_until(has_begun, what="the first requests")
    assert worker.stop() == 0
    assert (await cluster.workers())["1"].state == "stopping"
    worker.start()
    await all_read(cluster)
    assert {request.phone for request in await cluster.requests()} == set(unknown)


async def test_a_worker_that_gets_nothing_done_ends_itself_and_its_rows_are_not_lost(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    await cluster.add_rows([a_row(1, phone(1))])
    stuck = start_worker("1", "tests.integration.stuck_worker")

    async def has_ended() -> bool:
        return stuck.process is not None and stuck.process.poll() == EXIT_CRASHED

    await wait_until(has_ended, what="the watchdog to end the worker")
    assert "began 1 rows" in stuck.log.read_text()
    start_worker("2")
    await all_read(cluster)
    assert [request.phone for request in await cluster.requests()] == [phone(1)]

"""The lookup worker on a real broker: what survives kills, lost folders, takeovers and standstill."""

import itertools
import shutil
from pathlib import Path

from schemas.topics import LOOKUP_PHONES_CHANGELOG, LOOKUP_REQUESTS
from services.runtime.process import EXIT_CRASHED
from tests.integration.worker_process import (
    ANOTHER,
    PARTITIONS,
    UPLOAD,
    Cluster,
    StartWorker,
    a_result,
    a_row,
    all_read,
    phone,
)
from tests.support.waiting import eventually


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

    await eventually(has_begun, what="the first requests")
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


async def test_a_group_that_lost_its_offsets_asks_for_no_phone_that_failed_or_is_known(
    cluster: Cluster, start_worker: StartWorker, tmp_path: Path
) -> None:
    """Also with its folder lost, and for the rows of a retry: the gate remembers what failed for an hour only."""
    known, failed, retried = phone(1), phone(2), phone(3)
    await cluster.add_rows(a_row(number, of) for number, of in enumerate((known, failed, retried), 1))
    await cluster.add_rows([a_row(3, retried, again=True, round_=1)])
    worker = start_worker()
    await all_read(cluster)
    await cluster.add_results(
        [
            a_result(known),
            a_result(failed, outcome="failed", names=(UPLOAD, 0)),
            a_result(retried, outcome="failed", names=(UPLOAD, 1)),
        ]
    )
    await all_read(cluster)
    assert sorted((r.phone, r.round) for r in await cluster.requests()) == [
        (known, 0),
        (failed, 0),
        (retried, 0),
        (retried, 1),
    ]
    assert worker.stop() == 0
    shutil.rmtree(tmp_path / "worker-1")
    await cluster.lose_offsets()
    assert not await cluster.is_all_read()
    worker.start()
    await all_read(cluster)
    assert len(await cluster.requests()) == 4


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

    await eventually(has_ended, what="the worker to find its table ahead of the changelog")
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

    await eventually(both_work, what="both workers to have partitions")
    await cluster.add_rows(a_row(n, of) for n, of in enumerate(known + unknown, 1))
    await all_read(cluster)
    first.kill()
    await cluster.add_rows(a_row(n, of, upload_id=ANOTHER) for n, of in enumerate(known + unknown, 1))
    await all_read(cluster)
    asked = {(request.phone, request.upload_id) for request in await cluster.requests()}
    assert asked == {(of, upload) for of in unknown for upload in (UPLOAD, ANOTHER)}


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

    await eventually(has_begun, what="the worker to begin with all partitions")
    start_worker("2")
    await eventually(has_begun_anew, what="the worker to begin anew with the half that it keeps")
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

    await eventually(has_begun, what="the first requests")
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

    await eventually(has_ended, what="the watchdog to end the worker")
    assert "began 1 rows" in stuck.log.read_text()
    last_word = (await cluster.workers())["1"]
    assert (last_word.state, last_word.error) == ("stopping", "ended by Stuck")
    start_worker("2")
    await all_read(cluster)
    assert [request.phone for request in await cluster.requests()] == [phone(1)]

"""The lookup worker on a real broker: what it asks for, and what it leaves alone."""

from datetime import timedelta

from schemas.codec import decode
from schemas.rows import BadRecord
from schemas.topics import BAD_RECORDS, LOOKUP_REQUESTS, LOOKUP_RESULTS, UPLOAD_ROWS
from tests.integration.worker_process import (
    ANOTHER,
    NOW,
    PARTITIONS,
    UPLOAD,
    Cluster,
    StartWorker,
    a_result,
    a_row,
    all_read,
    phone,
)


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
    await cluster.add_rows([a_row(1, unknown, upload_id=ANOTHER), a_row(2, failed, upload_id=ANOTHER)])
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

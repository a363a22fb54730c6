"""The lookup worker on a real broker: offsets without a record, as the ends of transactions are, stop nothing."""

from collections.abc import Iterable

import pytest
from aiokafka import AIOKafkaProducer

from schemas.codec import encode
from schemas.topics import LOOKUP_REQUESTS, LOOKUP_RESULTS, UPLOAD_ROWS, Topic
from services.runtime.kafka import started, topic_name
from tests.integration.worker_process import Cluster, StartWorker, a_result, a_row, all_read, phone

pytestmark = pytest.mark.hostile


async def put_in_transactions(cluster: Cluster, topic: Topic, records: Iterable[tuple[str, bytes]]) -> None:
    """Each record in a transaction of its own, as another system's producer may; Kafka ends it with a marker."""
    producer = AIOKafkaProducer(
        bootstrap_servers=cluster.settings.kafka, transactional_id=cluster.settings.topic_prefix + topic.name
    )
    name = topic_name(topic, cluster.settings)
    async with started(producer):
        for key, value in records:
            async with producer.transaction():
                await producer.send_and_wait(name, value, key=key.encode())


async def test_rows_of_transactions_are_read_to_the_end(cluster: Cluster, start_worker: StartWorker) -> None:
    worker = start_worker()
    phones = [phone(number) for number in range(20)]
    rows = [(of, encode(a_row(number, of))) for number, of in enumerate(phones, 1)]
    await put_in_transactions(cluster, UPLOAD_ROWS, rows[:10])
    await all_read(cluster)
    await put_in_transactions(cluster, UPLOAD_ROWS, rows[10:])
    await all_read(cluster)
    assert sorted(request.phone for request in await cluster.requests()) == phones
    assert worker.stop() == 0


async def test_a_worker_begins_though_the_results_end_without_a_record(
    cluster: Cluster, start_worker: StartWorker
) -> None:
    phones = [phone(number) for number in range(20)]
    await put_in_transactions(cluster, LOOKUP_RESULTS, [(of, encode(a_result(of))) for of in phones])
    await cluster.add_rows(a_row(number, of) for number, of in enumerate(phones, 1))
    start_worker()
    await all_read(cluster)
    assert await cluster.end(LOOKUP_REQUESTS) == 0

"""Gives tests of the lookup worker its topics, and workers that end with the test."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from schemas.settings import Settings
from tests.integration.worker_process import PARTITIONS, Cluster, StartWorker, WorkerProcess, on_cluster


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

"""Why the gate is no Faust agent: two ways in which a record is acknowledged although nothing came of it.

They are reproduced, so that the decision can be looked at again when a version of Faust no longer does this.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from schemas import topics as registry
from schemas.settings import Settings
from services.runtime.kafka import make_producer, started, topic_name
from tests.integration.faust_hazards import TROUBLE
from tests.integration.gate_process import CHECKOUT
from tests.support.waiting import eventually

BEFORE, AFTER = [b"first", TROUBLE], [b"second", b"third"]


class FaustStand:
    """A topic of one partition, and workers that read it one after the other in the same group."""

    def __init__(self, kafka: str, prefix: str, folder: Path) -> None:
        self.settings = Settings(kafka=kafka, topic_prefix=prefix, partitions=4)
        self.topic = topic_name(registry.LOOKUP_REQUESTS, self.settings)
        self.app = f"{prefix}hazard"
        self.done_file = folder / "done"
        self.log = folder / "faust.log"

    @contextmanager
    def worker(self, trouble: str) -> Iterator[None]:
        """A worker that is killed at the end of the block, as if its machine went away."""
        arguments = [self.settings.kafka, self.topic, self.app, str(self.done_file), trouble]
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.integration.faust_hazards", *arguments],
                cwd=CHECKOUT,
                stdout=log,
                stderr=log,
            )
        try:
            yield
        finally:
            process.kill()
            process.wait()

    async def put(self, values: list[bytes]) -> None:
        async with started(make_producer(self.settings)) as producer:
            for value in values:
                await producer.send_and_wait(self.topic, value, key=value, partition=0)

    def done(self) -> list[bytes]:
        return self.done_file.read_bytes().split() if self.done_file.exists() else []

    async def committed(self) -> int:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.settings.kafka)
        await admin.start()
        try:
            offsets = await admin.list_consumer_group_offsets(self.app)
        except GroupCoordinatorNotAvailableError:
            # A new broker has no coordinator before its first group: nothing can have been committed.
            return 0
        finally:
            await admin.close()
        found = offsets.get(TopicPartition(self.topic, 0))
        return 0 if found is None else int(found.offset)


@pytest.mark.parametrize("trouble", ["raises", "hangs"])
async def test_faust_acknowledges_a_record_that_was_never_done(
    broker: str, topics: str, tmp_path: Path, trouble: str
) -> None:
    stand = FaustStand(broker, topics, tmp_path)
    await stand.put(BEFORE + AFTER)

    async def all_are_acknowledged() -> bool:
        return await stand.committed() == len(BEFORE + AFTER)

    with stand.worker(trouble):
        await eventually(all_are_acknowledged, what="Faust to commit the end of the topic")
    assert TROUBLE not in stand.done()

    await stand.put([b"fourth"])
    with stand.worker("fine"):

        async def the_next_is_done() -> bool:
            return b"fourth" in stand.done()

        await eventually(the_next_is_done, what="the next worker to go on")
    assert TROUBLE not in stand.done(), "the record was given to the next worker: the hazard is gone"

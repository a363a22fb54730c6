"""A thousand hostile records on every topic of a running stack: files come back right, and no part ends."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.topics import LOOKUP_COMMANDS, TOPICS, Compacted, Topic
from tests.e2e.files import (
    assert_limit_held,
    assert_nothing_lost,
    assert_right_answers,
    phones,
    post,
    write_contacts,
)
from tests.e2e.waiting import get, wait_until_finished
from tests.fixtures.hostile import Hostile, some_hostile_records
from tests.fixtures.postgres import DATABASES, fresh_schema
from tests.fixtures.stack import RunningStack, stacks
from tests.support.waiting import eventually_sync

pytestmark = pytest.mark.hostile
RECORDS = 1_000
SEED = 20_261
PHONES = 120
AT_ONCE = 200
MOST_REQUEST_BYTES = 16 * 1024 * 1024
"""The client measures before it packs; the broker measures what arrives."""


@pytest.fixture(params=DATABASES)
def hostile_stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack of its own on SQLite, and one on PostgreSQL with two of each part, one gate on standby."""
    folder = tmp_path_factory.mktemp(f"hostile-{request.param}")
    with stacks(folder) as start:
        if request.param == "sqlite":
            yield start()
        else:
            with fresh_schema() as url:
                yield start("--scale", "feeder=2,worker=2,gate=2,join=2", env={"SCRUB_DATABASE": url})


def test_no_record_stops_a_part(hostile_stack: RunningStack, tmp_path: Path) -> None:
    stack = hostile_stack
    during = write_contacts(tmp_path / "during.csv", [*phones(PHONES, area=213), *phones(PHONES, area=213)])
    after = write_contacts(tmp_path / "after.csv", phones(30, area=214))
    before = stack.pids()
    with stack.client() as client:
        upload_id = post(client, during)
        eventually_sync(stack.calls, seconds=60, what="the calls to begin")
        taken = asyncio.run(pour(stack.kafka))
        assert taken >= len(TOPICS) * RECORDS * 0.95
        client.post("/v1/queue/resume").raise_for_status()  # some of the commands were well-formed: a pause
        assert_file_is_right(stack, client, upload_id, during)
        assert stack.pids() == before

        for part in before.keys() - {"kafka-1", "simulator-1"}:
            stack.wait_for_new(part, than=stack.kill(part))
        eventually_sync(lambda: ready(client), seconds=120, what="every part to have read the hostile records again")
        born = stack.pids()
        assert_file_is_right(stack, client, post(client, after), after)
        assert stack.pids() == born
        assert get(client, "/v1/bad-records").json()["items"]
    assert_limit_held(stack.calls())


def assert_file_is_right(stack: RunningStack, client: httpx.Client, upload_id: str, contacts: Path) -> None:
    """The upload completes, every row has the API's own answer, and each distinct phone was called once."""
    upload = wait_until_finished(client, upload_id, seconds=240)
    assert (upload["state"], upload["outcome"]) == ("completed", "success")
    results = assert_nothing_lost(contacts, get(client, upload["links"]["result_csv"]).text)
    assert_right_answers(results)
    wanted = {result["scrub_phone"] for result in results}
    called = [call.phone for call in stack.calls() if call.phone in wanted]
    assert sorted(called) == sorted(wanted)


def ready(client: httpx.Client) -> bool:
    try:
        return client.get("/health/ready").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


async def pour(kafka: str) -> int:
    """Writes the records to every topic, commands first; returns how many the broker took."""
    taken = 0
    async with AIOKafkaProducer(
        bootstrap_servers=kafka, acks="all", compression_type="gzip", max_request_size=MOST_REQUEST_BYTES, linger_ms=5
    ) as producer:
        for topic in sorted(TOPICS, key=lambda topic: topic is not LOOKUP_COMMANDS):
            records = some_hostile_records(topic, RECORDS, seed=SEED)
            for begin in range(0, RECORDS, AT_ONCE):
                outcomes = await asyncio.gather(
                    *(write(producer, topic, each) for each in records[begin : begin + AT_ONCE])
                )
                taken += sum(outcomes)
    return taken


async def write(producer: AIOKafkaProducer, topic: Topic, record: Hostile) -> bool:
    """Whether the broker took the record: what packs badly is too large for it. Compacted topics need a key."""
    needs_key = isinstance(topic.kept, Compacted) or record.value is None
    key = b"" if record.key is None and needs_key else record.key
    try:
        await producer.send_and_wait(topic.name, record.value, key=key)
    except KafkaError:
        return False
    return True

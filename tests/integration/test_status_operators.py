"""What operators do, beside a real join and broker: by filter, to the queue, to one number; and the list of it all."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

from schemas import topics
from schemas.codec import decode
from schemas.lookups import Answered, AttemptError, LookupCommand, LookupResult
from services.runtime.kafka import make_consumer, partitions_of, read_to_end, started, topic_name
from tests.integration.status_world import World, running_world
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(broker: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running_world(broker, tmp_path_factory.mktemp("operators")) as world:
        yield world


async def fail(world: World, upload_id: str, number: int, code: str, *, round_: int = 0) -> None:
    now = datetime.now(UTC)
    result = LookupResult(
        phone=world.phone(upload_id, number),
        outcome="failed",
        provider="test",
        looked_up_at=now,
        attempts=6,
        error=AttemptError(error_class="wait", code=code, detail="none", at=now),
        answers=(Answered(upload_id=upload_id, round=round_),),
    )
    # By the phone, so that it lies where its rows do.
    await world.send(topics.LOOKUP_RESULTS, result.phone, result)


async def states(world: World, upload_id: str) -> dict[int, str]:
    rows = (await world.client.get(f"/v1/uploads/{upload_id}/rows")).json()["items"]
    return {row["row"]: row["state"] for row in rows}


async def letters(world: World, upload_id: str) -> list[int]:
    items = (await world.client.get(f"/v1/dead-letters?upload_id={upload_id}")).json()["items"]
    return [letter["row"] for letter in items]


async def test_redrive_and_dismissal_by_filter_leave_the_other_phones_alone(world: World) -> None:
    upload_id = await world.open()
    await world.rows(upload_id, range(1, 5))
    await world.fed(upload_id, 4)
    for number, code in enumerate(("timeout", "http_500", "timeout", "garbage"), 1):
        await fail(world, upload_id, number, code)
    await world.until_state(upload_id, "completed")
    gone = await world.client.delete(f"/v1/dead-letters?upload_id={upload_id}&error_code=garbage")
    assert (gone.json()["rows"], gone.json()["reasons"]) == (1, {"garbage": 1})

    async def is_off_the_list() -> bool:
        return await letters(world, upload_id) == [1, 2, 3]

    await eventually(is_off_the_list, what="the dismissed row to be off the list")
    wanted = {"upload_id": upload_id, "error_code": "timeout"}
    dry = (await world.client.post("/v1/dead-letters/redrive", json=wanted | {"dry_run": True})).json()
    real = (await world.client.post("/v1/dead-letters/redrive", json=wanted)).json()
    assert dry | {"dry_run": False} == real
    assert (real["rows"], real["calls"], real["reasons"]) == (2, 2, {"timeout": 2})
    await world.until_state(upload_id, "in_progress")
    assert await states(world, upload_id) == {1: "waiting", 2: "failed", 3: "waiting", 4: "failed"}
    again = (await world.client.post("/v1/dead-letters/redrive", json={"upload_id": upload_id})).json()
    assert (again["uploads"], again["calls"], len(again["refused"])) == (0, 0, 1), "it is under way already"
    await world.answer(upload_id, range(1, 2), round_=1)
    await world.answer(upload_id, range(3, 4), round_=1)
    await world.until_state(upload_id, "completed")
    # Without a filter, what is on the list, and not what was taken off it.
    everything = (await world.client.post("/v1/dead-letters/redrive", json={"upload_id": upload_id})).json()
    assert (everything["rows"], everything["calls"]) == (1, 1)
    await world.until_state(upload_id, "in_progress")
    assert await states(world, upload_id) == {1: "answered", 2: "waiting", 3: "answered", 4: "failed"}
    # A sweep would wait for the worker, which this world has not, as long as any row waits.
    await world.answer(upload_id, range(2, 3), round_=2)
    await world.until_state(upload_id, "completed")


async def test_whatever_operators_do_is_in_the_audit_list(world: World) -> None:
    forgotten = "+12125550199"
    for path in ("/v1/queue/pause", "/v1/queue/resume", "/v1/queue/sweep"):
        answer = await world.client.post(path)
        assert answer.status_code == 202, answer.text
    assert (await world.client.post("/v1/phones/forget", json={"phone": forgotten})).status_code == 202

    async def entries() -> dict[str, dict[str, Any]] | None:
        items = (await world.client.get("/v1/audit?by=local")).json()["items"]
        found = {item["action"]: item for item in items if item["upload_id"] is None}
        return found if len(found) == 4 else None

    found = await eventually(entries, what="all four to be on the list")
    assert found.keys() == {"pause_calls", "resume_calls", "sweep", "forget_phone"}
    assert found["forget_phone"]["detail"] == {"phone_masked": "+1212*****99"}
    assert forgotten[5:10] not in str(found)
    page = (await world.client.get("/admin")).text
    assert "erased a number" in page
    assert "+1212*****99" in page
    assert "/uploads/None" not in page


async def test_the_desired_state_is_on_the_log_that_the_gate_reads(world: World) -> None:
    await world.client.post("/v1/queue/pause")
    await world.client.post("/v1/queue/resume")
    async with started(make_consumer(world.settings)) as consumer:
        consumer.assign(await partitions_of(consumer, topic_name(topics.LOOKUP_COMMANDS, world.settings)))
        await consumer.seek_to_beginning()
        said = [decode(LookupCommand, record.value) async for record in read_to_end(consumer, consumer.assignment())]
    assert [command.paused for command in said][-2:] == [True, False]

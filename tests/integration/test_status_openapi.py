"""The OpenAPI document against the application that it describes: every answer is one that it promises."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck

from services.assembler.status import CALLS
from services.assembler.web.openapi import document
from tests.integration.status_world import World, running_world

STORES_FILES = "/v1/uploads"
"""Its POST is answered by the ingest service, which this world does not run."""
WAITS_FOR_THE_GATE = "/v1/queue/(pause|resume|sweep)"

schema = (
    schemathesis.openapi.from_dict(document(CALLS))
    .exclude(path=STORES_FILES, method="POST")
    .exclude(path_regex=WAITS_FOR_THE_GATE)
)


@pytest.fixture(scope="module")
def address(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A world on a thread of its own, with one finished upload in it."""
    ready, over = threading.Event(), threading.Event()
    worlds: list[World] = []

    async def live() -> None:
        async with running_world(broker, tmp_path_factory.mktemp("openapi")) as world:
            upload_id = await world.open()
            await world.rows(upload_id, range(1, 4))
            await world.fed(upload_id, 3)
            await world.answer(upload_id, range(1, 4))
            await world.until_state(upload_id, "completed")
            worlds.append(world)
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=lambda: asyncio.run(live()))
    thread.start()
    try:
        assert ready.wait(60), "the world did not come up"
        yield worlds[0].url
    finally:
        over.set()
        thread.join(60)


@pytest.mark.filterwarnings("ignore:Do not use the `random` module:hypothesis.errors.HypothesisDeprecationWarning")
@schema.parametrize()
@hypothesis.settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_described(case: schemathesis.Case[Any], address: str) -> None:
    # Whether a cursor or a phone is one of ours is no matter of its shape, so a well-shaped one may be refused.
    lenient: Any = schemathesis.checks.CHECKS.get_one("positive_data_acceptance")
    case.call_and_validate(base_url=address, excluded_checks=[lenient])


def test_the_document_is_complete() -> None:
    described = document(CALLS)
    assert described["openapi"].startswith("3.1")
    calls = {(method.upper(), path) for path, methods in described["paths"].items() for method in methods}
    assert ("POST", "/v1/uploads") in calls
    assert {(call.method, call.path) for call in CALLS} <= calls
    names = [one["operationId"] for methods in described["paths"].values() for one in methods.values()]
    assert len(names) == len(set(names))

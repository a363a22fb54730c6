"""The OpenAPI document against the application that it describes: good data is taken, bad data refused, as promised."""

import asyncio
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck

from services.assembler.status.api.openapi import document
from services.assembler.status.inputs import IDEMPOTENCY_KEY_PATTERN
from services.assembler.status.role import ENDPOINTS
from tests.integration.status_world import World, running_world

_NO_CONTROLS = dict.fromkeys(range(32), " ")
schema = schemathesis.openapi.from_dict(document(ENDPOINTS))


@dataclass(frozen=True)
class Site:
    url: str
    finished: str
    """An upload that is completed."""


@pytest.fixture(scope="module")
def site(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A world on a thread of its own, files taken in included, with one finished upload in it."""
    ready, over = threading.Event(), threading.Event()
    sites: list[Site] = []

    async def live() -> None:
        async with running_world(broker, tmp_path_factory.mktemp("openapi"), with_ingest=True) as world:
            sites.append(Site(world.url, await finished_upload(world)))
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=lambda: asyncio.run(live()))
    thread.start()
    try:
        assert ready.wait(60), "the world did not come up"
        yield sites[0]
    finally:
        over.set()
        thread.join(60)


async def finished_upload(world: World) -> str:
    upload_id = await world.open()
    await world.rows(upload_id, range(1, 4))
    await world.fed(upload_id, 3)
    await world.answer(upload_id, range(1, 4))
    await world.until_state(upload_id, "completed")
    return upload_id


def aimed(case: "schemathesis.Case[Any]", upload_id: str) -> None:
    """What no schema can say: which ids exist (every second one does), which keys were used (none), what is text."""
    given = str(case.path_parameters.get("upload_id", "")) if case.path_parameters else ""
    if case.method != "DELETE" and len(given) == len(upload_id) and given[0] in "02468ace":
        case.path_parameters["upload_id"] = upload_id
    file = case.body.get("file") if isinstance(case.body, dict) else None
    if isinstance(case.body, dict) and isinstance(file, str):
        # What is full of control characters is no text, and refused as such; a schema cannot say that.
        case.body["file"] = file.translate(_NO_CONTROLS)
    key = case.headers.get("Idempotency-Key") if case.headers else None
    if isinstance(key, str) and re.fullmatch(IDEMPOTENCY_KEY_PATTERN, key) and len(key) < 200:
        case.headers["Idempotency-Key"] = f"{key}{uuid4().hex}"


@pytest.mark.filterwarnings("ignore:Do not use the `random` module:hypothesis.errors.HypothesisDeprecationWarning")
@pytest.mark.hostile
@schema.parametrize()
@hypothesis.settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_described(case: "schemathesis.Case[Any]", site: Site) -> None:
    aimed(case, site.finished)
    case.call_and_validate(base_url=site.url)


def test_the_document_is_complete() -> None:
    described = document(ENDPOINTS)
    assert described["openapi"].startswith("3.1")
    calls = {(method.upper(), path) for path, methods in described["paths"].items() for method in methods}
    assert ("POST", "/v1/uploads") in calls
    assert {(call.method, call.path) for call in ENDPOINTS} <= calls
    names = [one["operationId"] for methods in described["paths"].values() for one in methods.values()]
    assert len(names) == len(set(names))

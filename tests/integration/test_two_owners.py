"""Every route of the applications, asked by another owner, by an owner who is no admin, and by nobody.

The cases are checked against the applications' own route tables: a route without a case fails the first test.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal

import httpx
import pytest
import pytest_asyncio
from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from schemas.settings import Settings
from services.assembler.status.role import build_app as build_status
from services.ingest.http.role import build_app as build_ingest
from tests.integration.status_world import World, running_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

Kind = Literal["owned", "own page", "admin", "admin page", "list", "page", "open", "ingest"]
"""
owned      belongs to the upload in its path: 404 to another owner, 401 to nobody
own page   likewise, but nobody is led to the sign-in form
admin      403 to an owner who is no admin, 401 to nobody
admin page likewise, but nobody is led to the sign-in form
list       shows an owner the own uploads only, 401 to nobody
page       likewise, but nobody is led to the sign-in form
open       holds nothing of anybody's uploads
ingest     of the other application: 401 to nobody
"""
CASES: dict[tuple[str, str], Kind] = {
    ("GET", "/v1/uploads"): "list",
    ("POST", "/v1/uploads"): "ingest",
    ("POST", "/v1/uploads/clear"): "list",
    ("GET", "/v1/uploads/{upload_id}"): "owned",
    ("PATCH", "/v1/uploads/{upload_id}"): "owned",
    ("DELETE", "/v1/uploads/{upload_id}"): "owned",
    ("GET", "/v1/uploads/{upload_id}/rows"): "owned",
    ("GET", "/v1/uploads/{upload_id}/result.csv"): "owned",
    ("GET", "/v1/uploads/{upload_id}/result.xlsx"): "owned",
    ("GET", "/v1/uploads/{upload_id}/result.jsonl"): "owned",
    ("POST", "/v1/uploads/{upload_id}/start"): "owned",
    ("POST", "/v1/uploads/{upload_id}/options"): "owned",
    ("POST", "/v1/uploads/{upload_id}/pause"): "owned",
    ("POST", "/v1/uploads/{upload_id}/resume"): "owned",
    ("POST", "/v1/uploads/{upload_id}/cancel"): "owned",
    ("POST", "/v1/uploads/{upload_id}/retry-failed"): "owned",
    ("POST", "/v1/uploads/{upload_id}/reprocess"): "owned",
    ("WS", "/v1/uploads/{upload_id}/events"): "owned",
    ("GET", "/v1/queue"): "list",
    ("POST", "/v1/queue/pause"): "admin",
    ("POST", "/v1/queue/resume"): "admin",
    ("POST", "/v1/queue/sweep"): "admin",
    ("GET", "/v1/dead-letters"): "list",
    ("DELETE", "/v1/dead-letters"): "admin",
    ("POST", "/v1/dead-letters/redrive"): "admin",
    ("POST", "/v1/phones/forget"): "admin",
    ("GET", "/v1/audit"): "admin",
    ("GET", "/v1/bad-records"): "admin",
    ("POST", "/v1/bad-records/retry"): "admin",
    ("GET", "/"): "page",
    ("POST", "/selected"): "page",
    ("GET", "/uploads/{upload_id}"): "own page",
    ("GET", "/uploads/{upload_id}/check"): "own page",
    ("POST", "/uploads/{upload_id}/start"): "own page",
    ("POST", "/uploads/{upload_id}/options"): "own page",
    ("POST", "/uploads/{upload_id}/{command}"): "own page",
    ("GET", "/admin"): "page",
    ("POST", "/admin/{command}"): "admin page",
    ("GET", "/sign-in"): "open",
    ("POST", "/sign-in"): "open",
    ("POST", "/sign-out"): "open",
    ("GET", "/docs"): "open",
    ("GET", "/openapi.json"): "open",
    ("GET", "/static/{mark}/{name}"): "open",
    ("GET", "/metrics"): "open",
    ("GET", "/health/live"): "open",
    ("GET", "/health/ready"): "open",
    ("GET", "/health/startup"): "open",
}
COMMANDS = {
    "/uploads/{upload_id}/{command}": (
        "pause",
        "resume",
        "cancel",
        "retry-failed",
        "delete",
        "reprocess",
        "unheard-of",
    ),
    "/admin/{command}": ("pause", "resume", "sweep", "redrive", "dismiss", "clear", "retry-records", "unheard-of"),
}
BODIES: dict[str, dict[str, object]] = {
    "/v1/uploads/{upload_id}": {"priority": 1},
    "/v1/phones/forget": {"phone": "+14155550100"},
    "/v1/bad-records/retry": {"reason": "failed", "dry_run": True},
}
NAME = "the private list of ann.csv"
ANN, BOB, ROOT = ({"Authorization": f"Bearer {token}"} for token in ("ta", "tb", "root"))


@dataclass(frozen=True)
class Asked:
    """One request of the matrix."""

    method: str
    path: str
    kind: Kind
    body: dict[str, object] | None


def routes_of(app: Starlette) -> set[tuple[str, str]]:
    """Method and path of every route; HEAD goes with GET."""
    found: set[tuple[str, str]] = set()
    for route in app.routes:
        assert isinstance(route, Route | WebSocketRoute), f"{route} is a kind of route that this test does not know"
        methods = {"WS"} if isinstance(route, WebSocketRoute) else (route.methods or set()) - {"HEAD"}
        found |= {(method, route.path) for method in methods}
    return found


async def test_every_route_has_a_case() -> None:
    settings = Settings(tokens={"ta": "ann"})
    assert routes_of(build_status(settings)) | routes_of(build_ingest(settings)) == set(CASES)


@dataclass(frozen=True)
class Stage:
    """The applications with an upload of ann's, one of whose rows was given up."""

    world: World
    upload_id: str

    def all_asked(self, *kinds: Kind) -> list[Asked]:
        asked = []
        for (method, path), kind in CASES.items():
            if kind in kinds:
                for command in COMMANDS.get(path, ("",)):
                    filled = path.replace("{upload_id}", self.upload_id).replace("{command}", command)
                    asked.append(Asked(method, filled, kind, BODIES.get(path) if method in ("POST", "PATCH") else None))
        return asked

    async def status(self, asked: Asked, headers: dict[str, str]) -> int:
        if asked.method != "WS":
            return (await self.answer(asked, headers)).status_code
        address = self.world.url.replace("http", "ws") + asked.path
        try:
            async with connect(address, additional_headers=headers, proxy=None):
                return 101
        except InvalidStatus as refusal:
            return refusal.response.status_code

    async def answer(self, asked: Asked, headers: dict[str, str]) -> httpx.Response:
        return await self.world.client.request(asked.method, asked.path, headers=headers, json=asked.body)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(broker: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    folder = tmp_path_factory.mktemp("owners")
    async with running_world(broker, folder, tokens={"ta": "ann", "tb": "bob"}, admin="root") as world:
        world.client.headers.update(ANN)
        upload_id = await world.open(owner="ann", name=NAME)
        await world.rows(upload_id, range(1, 4), owner="ann")
        await world.fed(upload_id, 3)
        await world.answer(upload_id, range(1, 3))
        await world.answer(upload_id, range(3, 4), failed=True)
        await world.until_state(upload_id, "completed")
        del world.client.headers["authorization"]
        yield Stage(world, upload_id)


async def test_what_is_ann_s_is_not_there_for_bob(stage: Stage) -> None:
    for asked in stage.all_asked("owned", "own page"):
        assert await stage.status(asked, BOB) == 404, asked


async def test_an_unknown_upload_looks_the_same_as_another_owner_s(stage: Stage) -> None:
    path = f"/v1/uploads/{stage.upload_id}"
    theirs = await stage.world.client.get(path, headers=BOB)
    nobodys = await stage.world.client.get("/v1/uploads/unheard-of", headers=BOB)
    assert theirs.json() == nobodys.json()


async def test_only_admins_command_the_queue(stage: Stage) -> None:
    for asked in stage.all_asked("admin", "admin page"):
        assert await stage.status(asked, BOB) == 403, asked


async def test_lists_and_pages_show_bob_nothing_of_ann_s(stage: Stage) -> None:
    for asked in stage.all_asked("list", "page", "open"):
        answer = await stage.answer(asked, BOB)
        assert answer.status_code < 500, asked
        assert stage.upload_id not in answer.text, asked
        assert NAME not in answer.text, asked
    cleared = await stage.world.client.post("/v1/uploads/clear", headers=BOB, json={})
    assert cleared.json()["uploads"] == 0


async def test_a_selection_of_bob_s_cannot_hold_ann_s(stage: Stage) -> None:
    chosen = {"id": stage.upload_id, "action": "delete", "show": "all"}
    assert (await stage.world.client.post("/selected", headers=BOB, data=chosen)).status_code == 404
    everything = {"every": "1", "action": "delete", "show": "all"}
    assert (await stage.world.client.post("/selected", headers=BOB, data=everything)).status_code == 303


async def test_without_a_token_nothing_is_shown(stage: Stage) -> None:
    for asked in stage.all_asked("owned", "admin", "list"):
        assert await stage.status(asked, {}) == 401, asked
        assert await stage.status(asked, {"Authorization": "Bearer guess"}) == 401, asked
    for asked in stage.all_asked("own page", "admin page", "page"):
        answer = await stage.answer(asked, {})
        assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/sign-in"), asked
    for asked in stage.all_asked("open"):
        answer = await stage.answer(asked, {})
        assert NAME not in answer.text, asked
        assert stage.upload_id not in answer.text, asked


async def test_after_all_of_that_ann_has_everything_and_an_admin_sees_it(stage: Stage) -> None:
    for headers in (ANN, ROOT):
        upload = await stage.world.upload(stage.upload_id, **headers)
        assert (upload["state"], upload["round"], upload["priority"]) == ("completed", 0, 3)
    entries = (await stage.world.client.get("/v1/audit", headers=ROOT)).json()["items"]
    assert {entry["by"] for entry in entries if entry["upload_id"] == stage.upload_id} == {"ann"}

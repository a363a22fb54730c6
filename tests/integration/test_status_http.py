"""The status application beside a real join and broker: what clients see, command and download."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from schemas.ids import idempotent_upload_id, new_upload_id
from schemas.settings import Settings
from schemas.uploads import UploadOptions
from services.assembler.status import role as status
from services.assembler.status.api.result_files import RESULT_COLUMNS
from services.runtime.process import RefusedToStart
from tests.integration.status_world import World, running_world
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(broker: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running_world(broker, tmp_path_factory.mktemp("status")) as world:
        yield world


async def test_rows_of_another_system_come_out_enriched(world: World) -> None:
    upload_id = await world.open()
    await world.rows(upload_id, range(1, 6))
    await world.reject(upload_id, 6)
    await world.fed(upload_id, 6, rejected=1)
    await world.answer(upload_id, range(1, 5))
    await world.answer(upload_id, range(5, 6), failed=True)
    done = await world.until_state(upload_id, "completed")
    assert done["outcome"] == "partial"
    assert (done["counts"]["answered"], done["counts"]["failed"], done["counts"]["rejected"]) == (4, 1, 1)
    assert done["counts"]["calls"] == 10
    assert done["summary"]["verdict"] == {"ok": 4}

    failed = (await world.client.get(f"/v1/uploads/{upload_id}/rows?state=failed,rejected")).json()["items"]
    assert [(row["row"], row["state"], row["error"]["code"]) for row in failed] == [
        (5, "failed", "gave_up"),
        (6, "rejected", "not_a_phone"),
    ]

    file = await world.client.get(f"/v1/uploads/{upload_id}/result.csv")
    assert file.headers["content-disposition"] == 'attachment; filename="contacts.scrubbed.csv"'
    assert "scrub-partial" not in file.headers
    lines = list(csv.DictReader(io.StringIO(file.text, newline="")))
    assert list(lines[0]) == ["Name", "Phone", *RESULT_COLUMNS]
    assert [line["scrub_status"] for line in lines] == ["answered"] * 4 + ["failed", "rejected"]
    only_failed = await world.client.get(f"/v1/uploads/{upload_id}/result.csv?rows=failed")
    assert [line["Name"] for line in csv.DictReader(io.StringIO(only_failed.text))] == ["Name 5"]


async def test_an_unfinished_download_says_so(world: World) -> None:
    upload_id = await world.open(name="Kühe.csv")
    await world.rows(upload_id, range(1, 4))
    await world.answer(upload_id, range(1, 2))
    await eventually(lambda: _answered(world, upload_id, 1), what="one answer")
    file = await world.client.get(f"/v1/uploads/{upload_id}/result.csv")
    assert file.headers["scrub-partial"] == "true"
    assert "filename*=UTF-8''K%C3%BChe.partial.csv" in file.headers["content-disposition"]
    lines = list(csv.DictReader(io.StringIO(file.text)))
    assert [line["scrub_status"] for line in lines] == ["answered", "waiting", "waiting"]
    json_lines = (await world.client.get(f"/v1/uploads/{upload_id}/result.jsonl?verdict=ok")).text.splitlines()
    assert len(json_lines) == 1
    workbook = await world.client.get(f"/v1/uploads/{upload_id}/result.xlsx")
    assert workbook.content.startswith(b"PK")
    assert int(workbook.headers["content-length"]) == len(workbook.content)


async def _answered(world: World, upload_id: str, count: int) -> bool:
    return bool((await world.upload(upload_id))["counts"]["answered"] >= count)


async def test_rows_come_in_pages_that_lose_nothing(world: World) -> None:
    upload_id = await world.open()
    await world.rows(upload_id, range(1, 24))
    await world.fed(upload_id, 23)
    await eventually(lambda: _stored(world, upload_id, 23), what="all rows")
    seen: list[int] = []
    cursor = ""
    while True:
        page = (await world.client.get(f"/v1/uploads/{upload_id}/rows?limit=5{cursor}")).json()
        seen += [row["row"] for row in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert seen == list(range(1, 24))


async def _stored(world: World, upload_id: str, count: int) -> bool:
    return bool((await world.upload(upload_id))["counts"]["waiting"] == count)


async def test_commands_show_in_their_answer_and_repeat_without_harm(world: World) -> None:
    upload_id = await world.open()
    await world.rows(upload_id, range(1, 4))
    await eventually(lambda: _stored(world, upload_id, 3), what="all rows")
    for command, state in (
        ("pause", "paused"),
        ("pause", "paused"),
        ("resume", "in_progress"),
        ("resume", "in_progress"),
    ):
        answer = await world.client.post(f"/v1/uploads/{upload_id}/{command}")
        assert (answer.status_code, answer.json()["state"]) == (202, state)
    urgent = await world.client.patch(f"/v1/uploads/{upload_id}", json={"priority": 1})
    assert (urgent.status_code, urgent.json()["priority"]) == (202, 1)
    refused = await world.client.post(f"/v1/uploads/{upload_id}/retry-failed")
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/wrong-state")
    stopped = await world.client.post(f"/v1/uploads/{upload_id}/cancel")
    assert stopped.status_code == 202
    await world.fed(upload_id, 3)
    done = await world.until_state(upload_id, "cancelled")
    assert done["counts"]["unprocessed"] == 3
    assert (await world.client.post(f"/v1/uploads/{upload_id}/pause")).status_code == 409
    gone = await world.client.delete(f"/v1/uploads/{upload_id}")
    assert gone.status_code == 202
    await eventually(lambda: _is_status(world, f"/v1/uploads/{upload_id}", 404, 503), what="the upload to be gone")
    actions = {entry["action"] for entry in (await world.client.get("/v1/audit")).json()["items"]}
    assert {"pause_upload", "resume_upload", "cancel_upload", "set_priority", "delete_upload"} <= actions


async def _is_status(world: World, path: str, *statuses: int) -> bool:
    return (await world.client.get(path)).status_code in statuses


async def test_failed_rows_are_listed_and_tried_again(world: World) -> None:
    upload_id = await world.open()
    await world.rows(upload_id, range(1, 4))
    await world.fed(upload_id, 3)
    await world.answer(upload_id, range(1, 4), failed=True)
    await world.until_state(upload_id, "completed")
    letters = (await world.client.get(f"/v1/dead-letters?error_code=timeout&upload_id={upload_id}")).json()["items"]
    assert [(letter["upload_id"], letter["row"], letter["attempts"]) for letter in letters] == [
        (upload_id, number, 6) for number in (1, 2, 3)
    ]
    dry = (await world.client.post("/v1/dead-letters/redrive", json={"dry_run": True, "upload_id": upload_id})).json()
    assert (dry["uploads"], dry["rows"], dry["calls"], dry["reasons"]) == (1, 3, 3, {"timeout": 3})
    assert (await world.upload(upload_id))["round"] == 0
    assert (await world.client.delete(f"/v1/dead-letters?upload_id={upload_id}&dry_run=true")).json()["rows"] == 3
    gone = await world.client.delete(f"/v1/dead-letters?upload_id={upload_id}")
    assert (gone.status_code, gone.json()["rows"]) == (202, 3)
    await eventually(lambda: _has_no_letters(world, upload_id), what="the letters to be off the list")
    assert (await world.upload(upload_id))["counts"]["failed"] == 3
    await world.client.post(f"/v1/uploads/{upload_id}/retry-failed")
    await world.until_state(upload_id, "in_progress")
    await world.answer(upload_id, range(1, 4), failed=True, round_=1)
    await world.until_state(upload_id, "completed")
    assert not await _has_no_letters(world, upload_id)
    real = (await world.client.post("/v1/dead-letters/redrive", json={"upload_id": upload_id})).json()
    assert (real["dry_run"], real["calls"]) == (False, 3)
    again = await world.until_state(upload_id, "in_progress")
    assert again["round"] == 2
    await world.answer(upload_id, range(1, 4), round_=2)
    done = await world.until_state(upload_id, "completed")
    assert (done["outcome"], done["counts"]["answered"]) == ("success", 3)


async def _has_no_letters(world: World, upload_id: str) -> bool:
    letters = (await world.client.get(f"/v1/dead-letters?upload_id={upload_id}")).json()
    return bool(letters["items"] == [])


async def test_a_long_poll_ends_with_the_upload(world: World) -> None:
    upload_id = await world.open()
    await world.rows(upload_id, range(1, 3))
    await world.fed(upload_id, 2)
    await world.upload(upload_id)
    poll = asyncio.create_task(world.client.get(f"/v1/uploads/{upload_id}?wait=25"))
    await world.answer(upload_id, range(1, 3))
    answer = await poll
    assert answer.json()["state"] == "completed"
    tag = answer.headers["etag"]
    same = await world.client.get(f"/v1/uploads/{upload_id}", headers={"If-None-Match": tag})
    assert (same.status_code, same.content) == (304, b"")


async def test_no_false_404_for_what_is_on_its_way(broker: str, tmp_path: Path) -> None:
    async with running_world(broker, tmp_path, with_join=False) as world:
        for upload_id in (await world.open(), await world.open(upload_id=idempotent_upload_id("local", "a key"))):
            answer = await world.client.get(f"/v1/uploads/{upload_id}")
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert answer.headers["content-type"] == "application/problem+json"
        assert (await world.client.get("/v1/uploads/unheard-of")).status_code == 404


async def test_an_unknown_id_is_a_404_however_young_it_looks(world: World) -> None:
    await world.upload(await world.open())
    young = new_upload_id(now_ms=int(datetime.now(UTC).timestamp() * 1000))
    assert (await world.client.get(f"/v1/uploads/{young}")).status_code == 404
    assert (await world.client.get(f"/v1/uploads/{uuid4()}")).status_code == 404


async def test_each_owner_sees_only_the_own_uploads(broker: str, tmp_path: Path) -> None:
    tokens = {"ta": "ann", "tb": "bob"}
    async with running_world(broker, tmp_path, tokens=tokens, admin="root") as world:
        upload_id = await world.open(owner="ann")
        ann, bob, root = ({"Authorization": f"Bearer {token}"} for token in ("ta", "tb", "root"))
        await world.upload(upload_id, **ann)
        await world.upload(upload_id, **root)
        own = f"/v1/uploads/{upload_id}"
        for path in (
            own,
            f"{own}/rows",
            f"{own}/result.csv",
            f"{own}/result.xlsx",
            f"{own}/result.jsonl",
            f"/uploads/{upload_id}",
        ):
            assert (await world.client.get(path, headers=bob)).status_code == 404, path
            assert (await world.client.get(path)).status_code in (401, 303), path
        for command in ("start", "options", "pause", "resume", "cancel", "retry-failed", "reprocess"):
            assert (await world.client.post(f"{own}/{command}", headers=bob)).status_code == 404, command
        assert (await world.client.patch(own, headers=bob, json={"priority": 1})).status_code == 404
        assert (await world.client.delete(own, headers=bob)).status_code == 404
        assert (await world.client.get("/v1/uploads", headers=bob)).json()["items"] == []
        for path in ("/v1/queue/pause", "/v1/queue/resume", "/v1/queue/sweep", "/v1/dead-letters/redrive"):
            assert (await world.client.post(path, headers=bob)).status_code == 403, path
        assert (await world.client.get("/v1/audit", headers=bob)).status_code == 403
        assert (await world.upload(upload_id, **ann))["state"] != "cancelled"


async def test_people_sign_in_with_a_form_and_other_sites_cannot_use_their_cookie(broker: str, tmp_path: Path) -> None:
    async with running_world(broker, tmp_path, tokens={"ta": "ann"}) as world:
        away = await world.client.get("/")
        assert (away.status_code, away.headers["location"]) == (303, "/sign-in?next=%2F")
        wrong = await world.client.post("/sign-in", data={"token": "guess"})
        assert wrong.status_code == 403
        assert "set-cookie" not in wrong.headers
        signed = await world.client.post("/sign-in", data={"token": "ta", "next": "//evil.example"})
        assert (signed.status_code, signed.headers["location"]) == (303, "/")
        cookie = signed.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert (await world.client.get("/")).status_code == 200
        foreign = {"Origin": "https://evil.example"}
        upload_id = await world.open(owner="ann")
        for path in (f"/v1/uploads/{upload_id}/cancel", f"/uploads/{upload_id}/cancel", "/sign-out"):
            assert (await world.client.post(path, headers=foreign)).status_code == 403, path


async def test_pages_are_complete_without_scripts(world: World) -> None:
    upload_id = await world.open(name="<b>contacts</b>.csv", options=UploadOptions())
    await world.rows(upload_id, range(1, 4))
    await world.fed(upload_id, 3)
    await world.answer(upload_id, range(1, 3))
    await world.answer(upload_id, range(3, 4), failed=True)
    await world.until_state(upload_id, "completed")
    page = (await world.client.get(f"/uploads/{upload_id}")).text
    assert "&lt;b&gt;contacts&lt;/b&gt;.csv" in page
    assert "2 of 3 rows answered, 1 got no answer." in page
    assert f"/v1/uploads/{upload_id}/result.csv" in page
    assert f'action="/uploads/{upload_id}/retry-failed"' in page
    pressed = await world.client.post(f"/uploads/{upload_id}/retry-failed")
    assert (pressed.status_code, pressed.headers["location"]) == (303, f"/uploads/{upload_id}")
    await world.until_state(upload_id, "in_progress")
    for path in ("/", "/admin", "/docs", f"/uploads/{upload_id}?state=waiting"):
        answer = await world.client.get(path)
        assert answer.status_code == 200, path
        assert "default-src 'self'" in answer.headers["content-security-policy"]


async def test_the_pages_need_nothing_from_elsewhere(world: World) -> None:
    pages = [(await world.client.get(path)).text for path in ("/", "/docs", "/admin")]
    for page in pages:
        for attribute in ('src="http', 'href="http', "src='http", "@import"):
            assert attribute not in page
    style = next(part for part in pages[0].split('"') if part.endswith("page.css"))
    sheet = await world.client.get(style)
    assert "immutable" in sheet.headers["cache-control"]
    assert "url(" not in sheet.text


async def test_wrong_input_is_told_by_name(world: World) -> None:
    for path, column in (
        ("/v1/uploads?limit=0", "limit"),
        ("/v1/uploads?state=nonsense", "state"),
        ("/v1/uploads?colour=red", "colour"),
    ):
        answer = await world.client.get(path)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["column"] == column
    assert (await world.client.get("/v1/uploads?cursor=%00")).status_code == 422
    assert (await world.client.put("/v1/queue")).status_code == 405


async def test_metrics_name_nobody(world: World) -> None:
    upload_id = await world.open()
    await world.rows(upload_id, range(1, 4))
    await eventually(lambda: _stored(world, upload_id, 3), what="all rows")
    metrics = (await world.client.get("/metrics")).text
    assert 'scrub_uploads{state="in_progress"}' in metrics
    assert upload_id not in metrics
    assert "555" not in metrics


async def test_it_refuses_to_serve_strangers_without_tokens() -> None:
    with pytest.raises(RefusedToStart, match="SCRUB_TOKENS"):
        await status.main(Settings(host="0.0.0.0"), asyncio.Event())

"""Everybody can use the pages: axe-core finds nothing against WCAG 2.2 AA, light and dark, wide and narrow."""

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import axe_playwright_python  # type: ignore[import-untyped]  # the package has no types
import httpx
import pytest
from playwright.sync_api import Page, expect

from schemas import topics
from schemas.settings import Settings
from services.runtime.kafka import make_producer, started, topic_name
from tests.browser.conftest import TOKEN, OpenPage, write_file
from tests.fixtures.stack import RunningStack
from tests.support.waiting import eventually_sync

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
A_PHONE: dict[str, Any] = {"width": 390, "height": 844}
WIDE: dict[str, Any] = {"width": 1280, "height": 900}
NARROW: dict[str, Any] = {"width": 360, "height": 780}


@pytest.fixture(scope="module")
def paths(site: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A page of each kind, with something on it."""
    folder = tmp_path_factory.mktemp("files")
    with site.client() as client:
        done = _upload(client, _with_gaps(folder), start=True)
        checked = _upload(client, write_file(folder, 802, 30), start=False)
        nothing = folder / "nothing.csv"
        nothing.write_text("Name,City\r\nAda,Berlin\r\nGrace,Rome\r\n", encoding="utf-8")
        refused = _upload(client, nothing, start=False)
        for upload_id, state in ((done, "completed"), (checked, "checked"), (refused, "failed")):
            # Called before the loop goes on.
            eventually_sync(lambda: _state(client, upload_id) == state, seconds=60, what=state)  # noqa: B023
        # On a thread: while Playwright's blocking interface is open, this one can run no event loop.
        with ThreadPoolExecutor(1) as threads:
            threads.submit(asyncio.run, _write_an_odd_row(site)).result()
        eventually_sync(lambda: client.get("/v1/bad-records").json()["items"], seconds=60, what="a record put aside")
        running = _upload(client, _for_minutes(folder), start=True)
        eventually_sync(lambda: _answered(client, running), seconds=60, what="the first answers")
    return {
        "list": "/",
        "done": f"/uploads/{done}",
        "running": f"/uploads/{running}?limit=20",
        "plan": f"/uploads/{checked}/check",
        "checked": f"/uploads/{checked}",
        "refused": f"/uploads/{refused}/check",
        "admin": "/admin",
        "docs": "/docs",
        "problem": "/uploads/unheard-of",
    }


async def _write_an_odd_row(site: RunningStack) -> None:
    settings = Settings(kafka=site.kafka)
    async with started(make_producer(settings)) as producer:
        await producer.send_and_wait(topic_name(topics.UPLOAD_ROWS, settings), b"no row", key=b"odd")


def _with_gaps(folder: Path) -> Path:
    """Rows with an answer, one whose lookup fails, and one without a number."""
    file = write_file(folder, 801, 4, special="(934) 555-0177")
    with file.open("a", encoding="utf-8", newline="") as lines:
        lines.write("Nobody,,\r\n")
    return file


def _for_minutes(folder: Path) -> Path:
    """More phones than are looked up while all pages are looked at, however slow the machine."""
    phones = (f"({area}) 555-01{line:02d}" for area in range(212, 380) for line in range(100))
    file = folder / "members.csv"
    file.write_text("Phone\r\n" + "\r\n".join(phones) + "\r\n", encoding="utf-8")
    return file


def _upload(client: httpx.Client, file: Path, *, start: bool) -> str:
    answer = client.post(f"/v1/uploads?start={str(start).lower()}", files={"file": (file.name, file.read_bytes())})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def _state(client: httpx.Client, upload_id: str) -> str:
    return str(client.get(f"/v1/uploads/{upload_id}").json().get("state"))


def _answered(client: httpx.Client, upload_id: str) -> int:
    return int(client.get(f"/v1/uploads/{upload_id}").json()["counts"]["answered"])


def violations(page: Page) -> dict[str, list[str]]:
    """What axe-core finds by look, as `rule: element`. In the dark only colours differ."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found: dict[str, list[str]] = {}
    everything, colours = {"type": "tag", "values": RULES}, {"type": "rule", "values": ["color-contrast"]}
    for look, scheme, size, rules in (
        ("light", "light", WIDE, everything),
        ("dark", "dark", WIDE, colours),
        ("narrow", "light", NARROW, everything),
    ):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # Playwright wants a literal
        page.set_viewport_size(size)  # type: ignore[arg-type]  # and a TypedDict
        result = page.evaluate("rules => axe.run({runOnly: rules})", rules)
        wrong = [f"{one['id']}: {node['html'][:120]}" for one in result["violations"] for node in one["nodes"]]
        found |= {look: wrong} if wrong else {}
    return found


@pytest.mark.parametrize("kind", ["list", "done", "running", "plan", "checked", "refused", "admin", "docs", "problem"])
def test_nobody_is_kept_out(open_page: OpenPage, paths: dict[str, str], kind: str) -> None:
    page = open_page(paths[kind], reduced_motion="reduce")
    page.evaluate("() => document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert violations(page) == {}
    if kind == "running":
        expect(page.locator("#now-title")).to_have_text("Looking up")


@pytest.mark.parametrize("kind", ["first", "refused"])
def test_nobody_is_kept_from_signing_in(open_locked_page: OpenPage, kind: str) -> None:
    page = open_locked_page("/sign-in", reduced_motion="reduce")
    if kind == "refused":
        sign_in(page, "no token of ours")
        expect(page.get_by_role("alert")).to_contain_text("This token is not known.")
    expect(page.get_by_label("Your token")).to_be_focused()
    assert violations(page) == {}
    assert page.evaluate("() => document.documentElement.scrollWidth") <= NARROW["width"]


def sign_in(page: Page, token: str) -> None:
    page.get_by_label("Your token").fill(token)
    page.get_by_role("button", name="Sign in").click()


def test_on_a_phone_a_run_with_gaps_says_all_on_the_first_screen(open_page: OpenPage, paths: dict[str, str]) -> None:
    assert_on_the_first_screen(open_page(paths["done"], viewport=A_PHONE))


def test_people_are_led_back_to_what_they_wanted(
    open_locked_page: OpenPage, locked_site: RunningStack, tmp_path: Path
) -> None:
    file = _with_gaps(tmp_path).rename(tmp_path / "all contacts of the spring.csv")
    with locked_site.client(headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        upload_id = _upload(client, file, start=True)
        eventually_sync(lambda: _state(client, upload_id) == "completed", seconds=60, what="completed")
    page = open_locked_page(f"/uploads/{upload_id}?state=failed", viewport=A_PHONE)
    sign_in(page, TOKEN)
    page.wait_for_url(f"**/uploads/{upload_id}?state=failed")
    assert_on_the_first_screen(page)


def assert_on_the_first_screen(page: Page) -> None:
    """State, time, what went wrong and every action of a finished upload can be seen without scrolling."""
    expect(page.locator("#connection")).to_have_text("Up to date")
    now = page.locator("#now")
    expect(now.locator(".headline")).to_contain_text("1 got no answer, 1 had no usable number.")
    expect(now.get_by_text("took")).to_be_visible()
    actions = page.locator("#actions").locator("a, button")
    expect(actions).to_have_text(
        [
            "Download CSV",
            "Excel",
            "JSON Lines",
            re.compile("went wrong"),
            re.compile("^Retry"),
            "Process again",
            "Delete",
        ]
    )
    for shown in (now.locator(".pill").first, now.get_by_text("took"), now.locator(".headline"), *actions.all()):
        box = shown.bounding_box()
        assert box is not None
        words = shown.inner_text()
        assert box["x"] >= 0, words
        assert box["y"] >= 0, words
        assert box["x"] + box["width"] <= A_PHONE["width"], words
        assert box["y"] + box["height"] <= A_PHONE["height"], words


@pytest.mark.parametrize("kind", ["list", "done", "running", "plan", "admin", "docs"])
def test_no_page_is_wider_than_a_phone(open_page: OpenPage, paths: dict[str, str], kind: str) -> None:
    page = open_page(paths[kind], viewport={"width": 320, "height": 640})
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 320


def test_changing_figures_are_announced_apart_from_the_table(open_page: OpenPage, paths: dict[str, str]) -> None:
    page = open_page(paths["done"])
    assert page.locator("[role=status]").count() >= 1
    assert page.locator("[role=status] table, table [role=status], table[aria-live]").count() == 0

"""Everybody can use the pages: axe-core finds nothing against WCAG 2.2 AA, light and dark, wide and narrow."""

from pathlib import Path
from typing import Any

import axe_playwright_python  # type: ignore[import-untyped]
import httpx
import pytest
from playwright.sync_api import Page

from tests.browser.conftest import OpenPage, write_file
from tests.fixtures.stack import RunningStack, wait_until

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
LOOKS: tuple[dict[str, Any], ...] = (
    {"color_scheme": "light", "viewport": {"width": 1280, "height": 900}},
    {"color_scheme": "dark", "viewport": {"width": 1280, "height": 900}},
    {"color_scheme": "light", "viewport": {"width": 360, "height": 780}},
)


@pytest.fixture(scope="module")
def paths(site: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A page of each kind, with something on it."""
    folder = tmp_path_factory.mktemp("files")
    with site.client() as client:
        done = _upload(client, write_file(folder, 801, 4, special="(934) 555-0177"), start=True)
        checked = _upload(client, write_file(folder, 802, 30), start=False)
        nothing = folder / "nothing.csv"
        nothing.write_text("Name,City\r\nAda,Berlin\r\nGrace,Rome\r\n", encoding="utf-8")
        refused = _upload(client, nothing, start=False)
        for upload_id, state in ((done, "completed"), (checked, "checked"), (refused, "failed")):
            wait_until(lambda: _state(client, upload_id) == state, seconds=60, what=state)  # noqa: B023
    return {
        "list": "/",
        "done": f"/uploads/{done}",
        "plan": f"/uploads/{checked}/check",
        "checked": f"/uploads/{checked}",
        "refused": f"/uploads/{refused}/check",
        "admin": "/admin",
        "docs": "/docs",
        "problem": "/uploads/unheard-of",
    }


def _upload(client: httpx.Client, file: Path, *, start: bool) -> str:
    answer = client.post(f"/v1/uploads?start={str(start).lower()}", files={"file": (file.name, file.read_bytes())})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def _state(client: httpx.Client, upload_id: str) -> str:
    return str(client.get(f"/v1/uploads/{upload_id}").json().get("state"))


def violations(page: Page) -> list[str]:
    """What axe-core finds, as `rule: element`."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("rules => axe.run({runOnly: {type: 'tag', values: rules}})", RULES)
    return [f"{one['id']}: {node['html'][:120]}" for one in found["violations"] for node in one["nodes"]]


@pytest.mark.parametrize("look", LOOKS, ids=["light", "dark", "narrow"])
@pytest.mark.parametrize("kind", ["list", "done", "plan", "checked", "refused", "admin", "docs", "problem"])
def test_nobody_is_kept_out(open_page: OpenPage, paths: dict[str, str], kind: str, look: dict[str, Any]) -> None:
    page = open_page(paths[kind], reduced_motion="reduce", **look)
    page.evaluate("() => document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert violations(page) == []


@pytest.mark.parametrize("kind", ["list", "done", "plan", "admin", "docs"])
def test_no_page_is_wider_than_a_phone(open_page: OpenPage, paths: dict[str, str], kind: str) -> None:
    page = open_page(paths[kind], viewport={"width": 320, "height": 640})
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 320


def test_changing_figures_are_announced_apart_from_the_table(open_page: OpenPage, paths: dict[str, str]) -> None:
    page = open_page(paths["done"])
    assert page.locator("[role=status]").count() >= 1
    assert page.locator("[role=status] table, table [role=status], table[aria-live]").count() == 0

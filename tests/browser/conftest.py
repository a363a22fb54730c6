"""A real Chromium and a stack of real processes for it, shared by all browser tests."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.fixtures.stack import RunningStack, stacks

WAIT_MS = 30_000
OpenPage = Callable[..., Page]
TOKEN = "token-of-ann"
_QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The machine's Chromium. Without one CI fails; elsewhere the tests are skipped, and the report says so.

    It ends with its module: while Playwright's blocking interface is open, no other test can run an event loop.
    """
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        give_up = pytest.fail if os.environ.get("CI") else pytest.skip
        give_up("no Chromium for the browser tests: install the package `chromium`")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_QUIET)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack that gives a phone up after two attempts, so that failures come soon."""
    with stacks(tmp_path_factory.mktemp("browser-stack")) as start:
        yield start(env={"SCRUB_MAX_ATTEMPTS": "2"})


@pytest.fixture(scope="module")
def locked_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack that wants people to sign in."""
    with stacks(tmp_path_factory.mktemp("locked-stack")) as start:
        yield start(env={"SCRUB_MAX_ATTEMPTS": "2", "SCRUB_TOKENS": json.dumps({TOKEN: "ann"})})


@pytest.fixture
def open_page(chromium: Browser, site: RunningStack) -> Iterator[OpenPage]:
    """Opens pages of the site: `open_page("/admin", color_scheme="dark")`. Any script error fails the test."""
    with _opening(chromium, site) as open_:
        yield open_


@pytest.fixture
def open_locked_page(chromium: Browser, locked_site: RunningStack) -> Iterator[OpenPage]:
    """As `open_page`, of the site where people sign in, by one who has not yet."""
    with _opening(chromium, locked_site) as open_:
        yield open_


@contextlib.contextmanager
def _opening(chromium: Browser, stack: RunningStack) -> Iterator[OpenPage]:
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def open_(path: str = "/", **options: object) -> Page:
        # Playwright's options are passed through.
        context = chromium.new_context(base_url=stack.url, **options)  # type: ignore[arg-type]
        context.set_default_timeout(WAIT_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(path)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert errors == []


_AREAS = iter(range(201, 600))


@pytest.fixture
def area() -> int:
    """An area code that no other test of the session uses, so that none of its phones is known."""
    return next(code for code in _AREAS if code % 100 != 11 and code not in (555, 700))


def write_file(folder: Path, area: int, rows: int, *, special: str = "") -> Path:
    """A CSV file of that many distinct fictional phones, and one more line with the `special` phone.

    An area code has a hundred fictional phones; the next hundred are of the area 400 above.
    """
    lines = ["Name,Phone,Fax"]
    for n in range(rows):
        code, line = area + 400 * (n // 100), n % 100
        lines.append(f"Person {n},({code}) 555-01{line:02d},({code}) 555-01{99 - line:02d}")
    if special:
        lines.append(f"Special,{special},")
    path = folder / f"people-{area}.csv"
    path.write_text("\r\n".join(lines) + "\r\n", encoding="utf-8")
    return path

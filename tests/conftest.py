"""Registers the fixtures that all tests share, and keeps tests out of each other's way."""

import csv
from collections.abc import Iterator

import pytest

LONGEST = (
    "kills",
    "browser_access",
    "leaks",
    "gate_takeover",
    "stack_life",
    "worker",
    "worker_crashes",
    "browser_job",
    "restarts",
    "gate",
)
"""Modules begun first, by name: begun last, one of them keeps a worker busy long after the others have ended."""
HOSTILE = "hostile"
pytest_plugins = ["tests.fixtures.broker", "tests.fixtures.postgres", "tests.fixtures.samples", "tests.fixtures.stack"]


@pytest.fixture(autouse=True)
def own_csv_limit() -> Iterator[None]:
    """Reading sets Python's one limit on CSV fields; the next test has it as it was."""
    limit = csv.field_size_limit()
    yield
    csv.field_size_limit(limit)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"{HOSTILE}: thousands of hostile records or requests; `make hostile` runs them")


def pytest_report_header(config: pytest.Config) -> str:
    return "hostile records and requests: " + ("asked for" if _asks_for_hostile(config) else "not here; make hostile")


def _asks_for_hostile(config: pytest.Config) -> bool:
    """Whether the long tests were asked for: by the marker, or by naming a module or a test."""
    return bool(config.option.markexpr) or any(".py" in argument for argument in config.args)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest modules come first; all others stay in the order of their folders, unit tests last."""
    if not _asks_for_hostile(config):
        long = [item for item in items if item.get_closest_marker(HOSTILE)]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in set(long)]
    order = {f"test_{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))

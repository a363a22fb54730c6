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
pytest_plugins = ["tests.fixtures.broker", "tests.fixtures.postgres", "tests.fixtures.samples", "tests.fixtures.stack"]


@pytest.fixture(autouse=True)
def own_csv_limit() -> Iterator[None]:
    """Reading sets Python's one limit on CSV fields; the next test has it as it was."""
    limit = csv.field_size_limit()
    yield
    csv.field_size_limit(limit)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest modules come first; all others stay in the order of their folders, unit tests last."""
    order = {f"test_{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))

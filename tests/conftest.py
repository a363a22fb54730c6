"""Registers the fixtures that all tests share, and keeps tests from changing the interpreter for each other."""

import csv
from collections.abc import Iterator

import pytest

pytest_plugins = ["tests.fixtures.broker", "tests.fixtures.postgres", "tests.fixtures.samples", "tests.fixtures.stack"]


@pytest.fixture(autouse=True)
def own_csv_limit() -> Iterator[None]:
    """Reading sets Python's one limit on CSV fields; the next test has it as it was."""
    limit = csv.field_size_limit()
    yield
    csv.field_size_limit(limit)

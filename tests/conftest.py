"""Registers the fixtures that all tests share."""

pytest_plugins = ["tests.fixtures.broker", "tests.fixtures.postgres", "tests.fixtures.samples", "tests.fixtures.stack"]

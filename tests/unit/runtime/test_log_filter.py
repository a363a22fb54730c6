"""Logs during an outage: the first line of each kind is there, the thousands after it are not."""

import logging

from services.runtime.log_filter import REPEAT_SECONDS, RepeatFilter


def line(name: str, line_number: int, *values: object) -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "client.py", line_number, "node %s", values, None)


def test_repetitions_of_a_library_pass_twice_a_minute() -> None:
    now = 0.0
    quiet = RepeatFilter("aiokafka", clock=lambda: now)
    assert quiet.filter(line("aiokafka.client", 7, 1))
    assert not quiet.filter(line("aiokafka.client", 7, 2))
    assert quiet.filter(line("aiokafka.client", 8, 1))
    now = REPEAT_SECONDS
    assert quiet.filter(line("aiokafka.client", 7, 3))


def test_our_own_lines_always_pass() -> None:
    quiet = RepeatFilter("aiokafka", clock=lambda: 0.0)
    assert all(quiet.filter(line("services.ingest.feeder.role", 7)) for _ in range(3))

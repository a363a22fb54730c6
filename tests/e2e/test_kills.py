"""Every role and the broker are killed in the middle of a run: no row lost, none doubled, nothing paid in vain."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.files import (
    assert_limit_held,
    assert_nothing_lost,
    assert_only_calls_in_flight_were_repeated,
    phones,
    post,
    write_contacts,
)
from tests.e2e.waiting import get, wait_until_finished
from tests.fixtures.stack import Call, RunningStack
from tests.support.waiting import eventually_sync

PHONES = 50
KILL_AFTER_CALLS = 15
AREAS = {"gate-1": 201, "worker-1": 202, "join-1": 203, "feeder-1": 205, "web-1": 206, "kafka-1": 207}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One stack for the module: that it lives on after each kill is part of the test."""
    from tests.fixtures.stack import stacks

    with stacks(tmp_path_factory.mktemp("killed-stack")) as start:
        yield start()


@pytest.mark.parametrize("part", AREAS)
def test_a_killed_part_costs_no_row_and_at_most_the_calls_in_flight(
    stack: RunningStack, tmp_path: Path, part: str
) -> None:
    distinct = phones(PHONES, area=AREAS[part])
    contacts = write_contacts(tmp_path / "contacts.csv", [distinct[index % PHONES] for index in range(3 * PHONES)])
    with stack.client() as client:
        upload_id = post(client, contacts)
        eventually_sync(lambda: len(_calls(stack, part)) >= KILL_AFTER_CALLS, seconds=60, what="the calls to begin")
        killed_ns = time.monotonic_ns()
        stack.wait_for_new(part, than=stack.kill(part))
        upload = wait_until_finished(client, upload_id)
        download = get(client, upload["links"]["result_csv"])
    results = assert_nothing_lost(contacts, download.text)
    assert {result["scrub_status"] for result in results} == {"answered"}
    assert set(_calls(stack, part)) == set(distinct)
    assert_only_calls_in_flight_were_repeated(_calls_of(stack, part), killed_ns)
    assert upload["counts"]["retries"] == 0
    assert_limit_held(stack.calls())


def _calls_of(stack: RunningStack, part: str) -> list[Call]:
    return [call for call in stack.calls() if call.phone.startswith(f"+1{AREAS[part]}")]


def _calls(stack: RunningStack, part: str) -> list[str]:
    return [call.phone for call in _calls_of(stack, part)]

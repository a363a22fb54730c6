"""Every role and the broker are killed in the middle of a run: no row lost, none doubled, nothing paid in vain."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.files import assert_limit_held, assert_nothing_lost, phones, post, write_contacts
from tests.e2e.waiting import get, wait_until_finished
from tests.fixtures.stack import Call, RunningStack, StackFactory, wait_until

PHONES = 50
KILL_AFTER_CALLS = 15
IN_FLIGHT_NS = 100_000_000 + 400_000_000
"""A call may be unacknowledged for the simulator's latency and as long as Kafka takes on a busy machine."""
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
        wait_until(lambda: len(_calls(stack, part)) >= KILL_AFTER_CALLS, seconds=60, what="the calls to begin")
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


def test_after_a_kill_of_everything_the_next_start_goes_on(start_stack: StackFactory, tmp_path: Path) -> None:
    stack = start_stack()
    distinct = phones(PHONES, area=208)
    contacts = write_contacts(tmp_path / "contacts.csv", distinct)
    with stack.client() as client:
        upload_id = post(client, contacts)
        wait_until(lambda: len(stack.calls()) >= KILL_AFTER_CALLS, seconds=60, what="the calls to begin")
        killed_ns = time.monotonic_ns()
        stack.kill_supervisor()
        stack.start()
        upload = wait_until_finished(client, upload_id)
        download = get(client, upload["links"]["result_csv"])
    assert_nothing_lost(contacts, download.text)
    assert upload["counts"]["answered"] == PHONES
    assert_only_calls_in_flight_were_repeated(stack.calls(), killed_ns)
    assert_limit_held(stack.calls())


def assert_only_calls_in_flight_were_repeated(calls: Sequence[Call], killed_ns: int) -> None:
    """A phone is called twice only if its first call had no acknowledged result when the part was killed."""
    first: dict[str, int] = {}
    for call in calls:
        if call.phone not in first:
            first[call.phone] = call.t_ns
            continue
        assert killed_ns - IN_FLIGHT_NS <= first[call.phone] <= killed_ns + IN_FLIGHT_NS


def test_without_its_database_the_join_rebuilds_the_same_file_from_kafka(
    start_stack: StackFactory, tmp_path: Path
) -> None:
    stack = start_stack()
    contacts = write_contacts(tmp_path / "contacts.csv", [*phones(30, area=209), *phones(30, area=209)])
    with stack.client() as client:
        upload_id = post(client, contacts)
        before = get(client, wait_until_finished(client, upload_id)["links"]["result_csv"]).text
        assert stack.stop() == 0
        for file in stack.data.glob("scrub.sqlite*"):
            file.unlink()
        for folder in stack.data.glob("worker-*"):
            folder.rename(tmp_path / folder.name)
        calls = len(stack.calls())
        stack.start()
        after = get(client, wait_until_finished(client, upload_id)["links"]["result_csv"]).text
    assert after == before
    assert len(stack.calls()) == calls


def _calls_of(stack: RunningStack, part: str) -> list[Call]:
    return [call for call in stack.calls() if call.phone.startswith(f"+1{AREAS[part]}")]


def _calls(stack: RunningStack, part: str) -> list[str]:
    return [call.phone for call in _calls_of(stack, part)]

"""A stack that went down goes on where it was: after a kill of everything, and without the join's database."""

import time
from pathlib import Path

from tests.e2e.files import (
    assert_limit_held,
    assert_nothing_lost,
    assert_only_calls_in_flight_were_repeated,
    phones,
    post,
    write_contacts,
)
from tests.e2e.waiting import get, wait_until_finished
from tests.fixtures.stack import StackFactory
from tests.support.waiting import eventually_sync

PHONES = 50
KILL_AFTER_CALLS = 15


def test_after_a_kill_of_everything_the_next_start_goes_on(start_stack: StackFactory, tmp_path: Path) -> None:
    stack = start_stack()
    distinct = phones(PHONES, area=208)
    contacts = write_contacts(tmp_path / "contacts.csv", distinct)
    with stack.client() as client:
        upload_id = post(client, contacts)
        eventually_sync(lambda: len(stack.calls()) >= KILL_AFTER_CALLS, seconds=60, what="the calls to begin")
        killed_ns = time.monotonic_ns()
        stack.kill_supervisor()
        stack.start()
        upload = wait_until_finished(client, upload_id)
        download = get(client, upload["links"]["result_csv"])
    assert_nothing_lost(contacts, download.text)
    assert upload["counts"]["answered"] == PHONES
    assert_only_calls_in_flight_were_repeated(stack.calls(), killed_ns)
    assert_limit_held(stack.calls())


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

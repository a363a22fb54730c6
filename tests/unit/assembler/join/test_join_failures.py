"""What the join makes of failures: repeated results, retries for some of them, dismissals, and who asked for what."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import permutations

import pytest

from schemas.lookups import PaidCalls
from schemas.upload_events import DismissFailed, Failures, OperatorActed, RetryFailed
from services.assembler.domain.stored import DeadLetterFilter
from services.assembler.store.dead_letters import (
    count_dead_letters,
    count_phones,
    dismissed,
    group_dead_letters,
    list_dead_letters,
)
from services.assembler.store.dialect import connect
from services.assembler.store.reads import list_audit, queue_totals
from services.assembler.store.sweeps import open_requests
from tests.unit.assembler.join.join_log import PHONES, Log, Reader, lookup_result
from tests.unit.assembler.join.test_joining import OTHER, U, World


@pytest.fixture
def world() -> Iterator[World]:
    reader = Reader(Log(), connect("sqlite://"))
    yield World(reader)
    reader.engine.dispose()


def test_a_result_that_was_written_twice_counts_once(world: World) -> None:
    world.open()
    world.row(1, PHONES[0])
    world.fed(1)
    paid = world.result(PHONES[0], "failed", (U, 0), calls=3)
    withdrawn = lookup_result(PHONES[1], "failed", at=world.now).model_copy(
        update={"calls": (PaidCalls(upload_id=U, calls=2),)}
    )
    world.write("lookup_results", PHONES[1], withdrawn)
    world.reader.read_all()
    before = world.reader.upload(U)
    assert (before.calls, before.retries) == (5, 3)
    for again in (paid, withdrawn, paid):
        world.write("lookup_results", again.phone, again)
        world.reader.read_all()
    after = world.reader.upload(U)
    assert (after.calls, after.retries, after.counts) == (5, 3, before.counts)
    with world.reader.engine.connect() as connection:
        totals = queue_totals(connection)
    assert (totals.failed, totals.retries) == (1, 3)


def failed_in_two_ways(world: World) -> None:
    """Rows 1 and 2 failed by a time-out, row 3 by an answer of status 500."""
    world.open()
    for number, phone in enumerate(PHONES[:3], 1):
        world.row(number, phone)
        world.result(phone, "failed", (U, 0), error_code="timeout" if number < 3 else "http_500")
    world.fed(3)
    world.reader.read_all()


def states(reader: Reader) -> dict[int, str]:
    return {row: state for row, (state, _) in reader.rows(U).items()}


def test_a_retry_for_some_failures_leaves_the_others_as_they_are(world: World) -> None:
    failed_in_two_ways(world)
    only = Failures(error_code="timeout")
    world.event(RetryFailed(upload_id=U, at=world.now, by="jane", round=1, only=only))
    world.reader.read_all()
    assert states(world.reader) == {1: "waiting", 2: "waiting", 3: "failed"}
    world.result(PHONES[0], "ok", (U, 1))
    world.result(PHONES[1], "failed", (U, 1), error_code="http_500")
    world.reader.read_all()
    assert states(world.reader) == {1: "answered", 2: "failed", 3: "failed"}
    assert world.reader.upload(U).state == "completed"
    # The second one is for what failed by then, for whatever reason it had failed before.
    world.event(RetryFailed(upload_id=U, at=world.now, by="jane", round=2, only=Failures(error_code="http_500")))
    world.reader.read_all()
    assert states(world.reader) == {1: "answered", 2: "waiting", 3: "waiting"}
    world.result(PHONES[1], "failed", (U, 2))
    world.result(PHONES[2], "ok", (U, 2))
    world.event(RetryFailed(upload_id=U, at=world.now, by="jane", round=3))
    world.reader.read_all()
    assert states(world.reader) == {1: "answered", 2: "waiting", 3: "answered"}


@pytest.mark.parametrize("order", list(permutations(("upload_events", "lookup_results", "upload_rows"))))
def test_a_rebuild_sees_the_same_after_retries_for_some_failures(order: tuple[str, ...]) -> None:
    world = World(Reader(Log(), connect("sqlite://")))
    failed_in_two_ways(world)
    world.event(RetryFailed(upload_id=U, at=world.now, by="jane", round=1, but_not=(Failures(error_code="http_500"),)))
    world.result(PHONES[0], "failed", (U, 1))
    world.reader.read_all()
    assert states(world.reader) == {1: "failed", 2: "waiting", 3: "failed"}
    rebuilt = Reader(world.reader.log, connect("sqlite://"))
    rebuilt.read_all(order)
    assert states(rebuilt) == states(world.reader)
    for reader in (rebuilt, world.reader):
        reader.engine.dispose()


def letters(world: World) -> list[int]:
    with world.reader.engine.connect() as connection:
        return [letter.row for letter in list_dead_letters(connection, DeadLetterFilter())]


def test_dismissed_failures_are_off_the_list_until_they_happen_again(world: World) -> None:
    failed_in_two_ways(world)
    world.event(DismissFailed(upload_id=U, at=world.now, by="jane", only=Failures(error_code="timeout")))
    world.reader.read_all()
    assert letters(world) == [3]
    with world.reader.engine.connect() as connection:
        listed = DeadLetterFilter()
        assert [(group.error_code, group.rows) for group in group_dead_letters(connection, listed)] == [("http_500", 1)]
        assert (count_phones(connection, listed, [U]), count_dead_letters(connection)) == (1, 1)
        left_out = dismissed(connection, U)
    world.event(RetryFailed(upload_id=U, at=world.now, by="jane", round=1, but_not=left_out))
    world.reader.read_all()
    assert states(world.reader) == {1: "failed", 2: "failed", 3: "waiting"}, "a redrive asks for what is listed"
    world.event(RetryFailed(upload_id=U, at=world.now, by="jane", round=2))
    world.result(PHONES[0], "failed", (U, 2))
    world.reader.read_all()
    assert letters(world) == [1]


def test_what_operators_did_is_in_the_audit_list_and_no_upload(world: World) -> None:
    world.open()
    for action in ("pause_calls", "resume_calls", "forget_phone"):
        world.event(OperatorActed.model_validate({"at": world.now, "by": "jane", "action": action}))
    world.event(OperatorActed(at=world.now, by="jane", action="sweep", sweep_id="s-1"))
    world.reader.read_all()
    with world.reader.engine.connect() as connection:
        entries = [(entry.action, entry.by, entry.upload_id) for entry in list_audit(connection)]
        assert open_requests(connection, now=world.now) == ["s-1"]
        assert open_requests(connection, now=world.now + timedelta(hours=1)) == [], "nobody waits for it any more"
    assert sorted(entries) == sorted(
        [("upload_opened", "jane", U)]
        + [(action, "jane", "") for action in ("pause_calls", "resume_calls", "forget_phone", "sweep")]
    )
    assert [upload.id for upload in world.reader.opened_uploads()] == [U]


def test_a_phone_that_two_uploads_await_costs_a_redrive_one_call(world: World) -> None:
    for upload_id in (U, OTHER):
        world.open(upload_id)
        world.row(1, PHONES[0], upload_id=upload_id)
        world.fed(1, upload_id=upload_id)
    world.result(PHONES[0], "failed", (U, 0), (OTHER, 0))
    world.reader.read_all()
    with world.reader.engine.connect() as connection:
        assert count_phones(connection, DeadLetterFilter(), [U, OTHER]) == 1
        assert count_dead_letters(connection) == 2, "each upload has it on its list"

"""What each step of a transaction leaves in the database: who asked for what, rounds, erasures, plans, sums."""

import json
import logging
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import select

from schemas.lookups import PhoneData
from schemas.rows import RejectedRow, RowError, UploadRow
from schemas.upload_events import (
    CancelUpload,
    Failures,
    OperatorActed,
    PauseUpload,
    RetryFailed,
    SetPriority,
    UploadChecked,
)
from schemas.uploads import Detected, FileCounts, PlanQuestion, UploadOptions
from services.assembler.domain.positions import Offsets
from services.assembler.domain.stored_numbers import result_id
from services.assembler.store import row_writes
from services.assembler.store.dialect import connect
from services.assembler.store.reads import list_audit, queue_totals
from services.assembler.store.sweeps import get_sweep
from services.assembler.store.tables import rows
from tests.unit.assembler.join.join_log import PARTITIONS, PHONES, START, Log, Reader, lookup_result, partition_of
from tests.unit.assembler.join.test_joining import OTHER, U, World


@pytest.fixture
def world() -> Iterator[World]:
    reader = Reader(Log(), connect("sqlite://"))
    yield World(reader)
    reader.engine.dispose()


def states(world: World, upload: str = U) -> dict[int, str]:
    return {row: state for row, (state, _) in world.reader.rows(upload).items()}


def round_of(world: World, row: int) -> int:
    with world.reader.engine.connect() as connection:
        return int(connection.execute(select(rows.c.round).where(rows.c.row == row)).scalar_one())


def test_the_audit_list_says_who_asked_for_what_of_which_upload_when(world: World) -> None:
    world.open()
    asked_at = world.now
    world.event(SetPriority(upload_id=U, at=asked_at, by="joe", priority=5))
    world.event(PauseUpload(upload_id=U, at=asked_at))
    acted = {"at": asked_at, "by": "ann", "action": "forget_phone", "phone_masked": "+1…01"}
    world.event(OperatorActed.model_validate(acted))
    world.reader.read_all()
    with world.reader.engine.connect() as connection:
        entries = {entry.action: entry for entry in list_audit(connection)}
    assert set(entries) == {"upload_opened", "set_priority", "forget_phone"}, "what no person asked for is not listed"
    priority, forgotten = entries["set_priority"], entries["forget_phone"]
    assert (priority.at, priority.by, priority.upload_id) == (asked_at, "joe", U)
    assert json.loads(priority.detail) == {"priority": 5}
    assert priority.id == result_id(partition_of(U), 1)
    assert (forgotten.at, forgotten.by, forgotten.upload_id) == (asked_at, "ann", "")
    assert json.loads(forgotten.detail) == {"phone_masked": "+1…01"}


def test_a_sweep_that_was_asked_for_is_noted_under_its_id(world: World) -> None:
    asked_at = world.now
    for action, sweep_id in (("sweep", "s-1"), ("sweep", None)):
        world.event(OperatorActed.model_validate({"at": asked_at, "by": "j", "action": action, "sweep_id": sweep_id}))
    world.open()
    world.reader.read_all()
    with world.reader.engine.connect() as connection:
        sweep = get_sweep(connection, "s-1")
    assert sweep is not None
    assert sweep.requested_at == asked_at
    assert world.reader.upload(U).state == "pending", "events after it are joined too"


@pytest.mark.parametrize("chunk", [1, 2])
def test_rows_of_a_retried_or_cancelled_upload_are_judged_again_however_many(
    world: World, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(row_writes, "CHUNK", chunk)
    world.open()
    for number, phone in enumerate(PHONES[:5], 1):
        world.row(number, phone)
        world.result(phone, "failed", (U, 0))
    world.reader.read_all()
    assert set(states(world).values()) == {"failed"}
    world.event(RetryFailed(upload_id=U, at=world.now, by="jane", round=1))
    world.reader.read_all()
    assert states(world) == dict.fromkeys(range(1, 6), "waiting")
    cancelled_at = world.now
    world.now += timedelta(seconds=10)
    for phone in PHONES[:5]:
        world.result(phone, "ok", (OTHER, 0))
    world.reader.read_all()
    assert states(world) == dict.fromkeys(range(1, 6), "answered")
    world.event(CancelUpload(upload_id=U, at=cancelled_at, by="jane"))
    world.reader.read_all()
    assert states(world) == dict.fromkeys(range(1, 6), "waiting")
    assert (world.reader.upload(U).answered, world.reader.upload(U).waiting) == (0, 5)


def test_a_cancellation_and_a_retry_that_are_read_together_are_both_heeded(world: World) -> None:
    world.open()
    world.row(1, PHONES[0])
    world.result(PHONES[0], "failed", (U, 0))
    world.reader.read_all()
    world.event(RetryFailed(upload_id=U, at=world.now, by="jane", round=1, only=Failures(error_code="timeout")))
    world.event(CancelUpload(upload_id=U, at=world.now, by="jane"))
    world.reader.read_all()
    assert states(world) == {1: "waiting"}


def test_a_row_has_the_highest_round_in_which_it_was_asked_for(world: World) -> None:
    world.open()
    for number, rounds in ((1, (0, 2, 1)), (2, (1, 0)), (3, (0, 1))):
        for round_ in rounds:
            world.row(number, PHONES[0], round_=round_)
    world.reader.read_all()
    assert [round_of(world, number) for number in (1, 2, 3)] == [2, 1, 1], "read at once"
    world.row(4, PHONES[0])
    world.reader.read_all()
    for round_, expected in ((1, 1), (3, 3), (2, 3)):
        world.row(4, PHONES[0], round_=round_)
        world.reader.read_all()
        assert round_of(world, 4) == expected
    assert set(states(world).values()) == {"waiting"}


def test_a_row_with_another_phone_is_told_and_does_not_stand(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.open()
    for number, together in ((1, False), (2, True)):
        world.row(number, PHONES[0])
        if not together:
            world.reader.read_all()
        world.row(number, PHONES[1])
        with caplog.at_level(logging.WARNING):
            world.reader.read_all()
        assert f"row {number} came with two phones" in caplog.text
        assert PHONES[0] not in caplog.text
    caplog.clear()
    world.row(1, PHONES[0])
    world.rejected(2, "cancelled")
    world.reader.read_all()
    assert caplog.text == ""
    assert world.reader.rows(U) == {1: ("waiting", PHONES[0]), 2: ("waiting", PHONES[0])}


def test_of_two_records_of_one_row_that_are_read_at_once_the_earlier_stands(world: World) -> None:
    world.open()
    by_partition = [[phone for phone in PHONES if partition_of(phone) == partition] for partition in (0, 1)]
    for number, (first, second) in enumerate((by_partition, by_partition[::-1]), 1):
        world.row(number, first[0])
        world.row(number, second[0], round_=1)
    world.reader.read_all()
    assert world.reader.rows(U) == {1: ("waiting", by_partition[0][0]), 2: ("waiting", by_partition[1][0])}
    assert [round_of(world, number) for number in (1, 2)] == [1, 1]


@pytest.mark.parametrize("at_once", [True, False])
def test_of_two_records_of_one_moment_the_first_in_the_log_stands(world: World, *, at_once: bool) -> None:
    world.open()
    same = [phone for phone in PHONES if partition_of(phone) == 0]
    for round_, phone in enumerate(same[:2]):
        now = world.now
        world.row(1, phone, round_=round_)
        world.now = now
        if not at_once:
            world.reader.read_all()
    world.reader.read_all()
    assert world.reader.rows(U) == {1: ("waiting", same[0])}
    assert round_of(world, 1) == 1


def test_a_usable_row_that_stands_in_for_a_rejected_one_is_counted_with_its_answer(world: World) -> None:
    world.open()
    world.rejected(1, "cancelled")
    for number in (2, 3):
        world.rejected(number)
    world.reader.read_all()
    assert (world.counts().unprocessed, world.counts().rejected) == (1, 2)
    world.result(PHONES[0], "ok", (U, 0))
    world.reader.read_all()
    for number in (1, 2, 3):
        world.row(number, PHONES[0], round_=number - 1)
    world.fed(3)
    world.reader.read_all()
    upload = world.reader.upload(U)
    assert (upload.answered, upload.rejected, upload.unprocessed, upload.verdicts) == (3, 0, 0, {"ok": 3})
    assert [round_of(world, number) for number in (1, 2, 3)] == [0, 1, 2]
    assert (upload.state, upload.finished_at) == ("completed", world.now - timedelta(seconds=1)), "the last row's time"


def test_a_phone_that_is_erased_leaves_every_upload_and_rows_after_it_are_stored(world: World) -> None:
    for name in (U, OTHER):
        world.open(name)
        world.row(1, PHONES[0], upload_id=name)
        world.row(2, PHONES[1], upload_id=name)
    for phone in PHONES[:2]:
        world.result(phone, "ok", (U, 0))
    world.reader.read_all()
    world.write("lookup_results", PHONES[0], None)
    erased_at = world.now
    world.reader.read_all()
    for name in (U, OTHER):
        upload = world.reader.upload(name)
        assert world.reader.rows(name) == {1: ("unprocessed", None), 2: ("answered", PHONES[1])}
        assert (upload.answered, upload.unprocessed, upload.verdicts) == (1, 1, {"ok": 1})
    world.now = erased_at - timedelta(seconds=1)
    world.row(3, PHONES[0])
    assert world.now == erased_at
    world.row(4, PHONES[0])
    world.row(5, PHONES[2])
    world.reader.read_all()
    assert world.reader.rows(U)[5] == ("waiting", PHONES[2])
    assert world.reader.rows(U)[3] == ("unprocessed", None), "published when it was erased, at the latest"
    assert world.reader.rows(U)[4] == ("waiting", PHONES[0])
    world.result(PHONES[0], "ok", (U, 0))
    world.reader.read_all()
    assert states(world) == {1: "unprocessed", 2: "answered", 3: "unprocessed", 4: "answered", 5: "waiting"}


def test_the_last_of_two_erasures_counts_whichever_is_read_last(world: World) -> None:
    world.open()
    second = START + timedelta(hours=1)
    for at in (second, START):
        world.log.append("lookup_results", PHONES[0], None, at=at)
        world.reader.read_all()
    world.now = second - timedelta(minutes=1)
    world.row(1, PHONES[0])
    world.reader.read_all()
    assert world.reader.rows(U) == {1: ("unprocessed", None)}


def test_results_before_an_erasure_go_with_it_and_those_after_it_stay(world: World) -> None:
    world.open()
    world.row(1, PHONES[1])
    world.result(PHONES[0], "ok", (U, 0))
    world.write("lookup_results", PHONES[0], None)
    world.result(PHONES[1], "ok", (U, 0))
    kept = world.result(PHONES[0], "not_valid", (U, 0))
    world.reader.read_all()
    world.row(2, PHONES[0])
    world.reader.read_all()
    assert states(world) == {1: "answered", 2: "answered"}
    assert world.reader.upload(U).verdicts == {"ok": 1, kept.outcome: 1}


def checked(check_id: str) -> UploadChecked:
    return UploadChecked(
        upload_id=U,
        at=START,
        check_id=check_id,
        detected=Detected(format="csv"),
        counts=FileCounts(rows=9, with_phone=9, usable=8, split=0, distinct=3),
        options=UploadOptions(),
    )


def ask(world: World, batch: int, *phones: str, last: bool, check_id: str = "c") -> None:
    question = PlanQuestion(
        upload_id=U, check_id=check_id, batch=batch, last=last, accept_since=START, phones=tuple(phones)
    )
    world.write("plan_questions", U, question)
    world.reader.read_all()


def test_a_plan_is_known_when_all_its_questions_are_answered(world: World) -> None:
    world.open()
    for phone in PHONES[:3]:
        world.result(phone)
    world.event(checked("c"))
    world.reader.read_all()
    known = []
    for batch, phones, last in ((2, PHONES[2:3], True), (0, PHONES[:2], False), (1, (), False)):
        ask(world, batch, *phones, last=last)
        known.append(world.reader.upload(U).plan_known)
    assert known == [None, None, 3]


def test_questions_of_another_check_are_not_mixed_up(world: World) -> None:
    world.open()
    world.result(PHONES[0])
    world.event(checked("old"))
    ask(world, 0, PHONES[0], last=False, check_id="old")
    world.event(checked("new"))
    ask(world, 0, PHONES[1], last=True, check_id="new")
    assert world.reader.upload(U).plan_known == 0
    ask(world, 1, PHONES[0], last=True, check_id="old")
    assert world.reader.upload(U).plan_known == 0


def test_the_last_question_of_another_check_completes_no_plan(world: World) -> None:
    world.open()
    world.event(checked("old"))
    ask(world, 0, PHONES[0], last=True, check_id="old")
    world.event(checked("new"))
    ask(world, 0, PHONES[1], last=False, check_id="new")
    assert world.reader.upload(U).plan_known is None
    ask(world, 1, PHONES[0], last=True, check_id="new")
    assert world.reader.upload(U).plan_known == 0


def test_a_row_keeps_the_line_of_its_file(world: World) -> None:
    world.open()
    row = {"upload_id": U, "line": 17, "cells": ("Jane", PHONES[0])}
    usable = UploadRow(**row, row=1, phone=PHONES[0], owner="jane", wanted_at=START, accept_since=START)
    world.write("upload_rows", PHONES[0], usable)
    world.write("rejected_rows", U, RejectedRow(**row, row=2, error=RowError(code="no_phone")))
    world.reader.read_all()
    with world.reader.engine.connect() as connection:
        lines = [(row.row, row.line) for row in connection.execute(select(rows.c.row, rows.c.line))]
    assert sorted(lines) == [(1, 17), (2, 17)]


def test_a_question_that_comes_again_keeps_its_answer(world: World) -> None:
    world.open()
    world.event(checked("c"))
    ask(world, 0, PHONES[0], last=False)
    world.result(PHONES[0])
    world.reader.read_all()
    ask(world, 0, PHONES[0], last=False)
    ask(world, 1, last=True)
    assert world.reader.upload(U).plan_known == 0


def test_a_completion_sums_up_verdicts_line_types_and_distinct_phones(world: World) -> None:
    world.open()
    for number, phone in enumerate((*PHONES[:4], PHONES[0]), 1):
        world.row(number, phone)
    world.open(OTHER)
    world.row(1, PHONES[4], upload_id=OTHER)
    for phone, line_type in zip(PHONES[:3], ("mobile", "landline", "mobile"), strict=True):
        result = lookup_result(phone, "ok", at=world.now, answers=[(U, 0)])
        data = PhoneData.model_validate({"line_type": line_type, "reachable": "yes", "do_not_call": "no"})
        world.write("lookup_results", phone, result.model_copy(update={"data": data}))
    world.result(PHONES[3], "not_valid", (U, 0))
    world.fed(5)
    world.reader.read_all()
    ((_, upload),) = world.completions()
    assert upload.summary.verdict == {"ok": 4, "not_valid": 1}
    assert upload.summary.line_type == {"mobile": 3, "landline": 1, "unknown": 1}
    assert (upload.counts.rows, upload.counts.answered, upload.counts.duplicates) == (5, 5, 1)
    assert upload.preview is None
    assert world.reader.upload(OTHER).distinct_phones is None, "it goes on"


def test_whoever_publishes_completions_is_told_when_there_is_one(world: World) -> None:
    """Whichever of the uploads it is that were touched together, and not for what ended before."""
    reader = world.reader
    names = sorted((U, OTHER))
    for name in names:
        world.open(name)
        world.row(1, PHONES[0], upload_id=name)
        world.fed(1, upload_id=name)
        world.row(2, PHONES[1], upload_id=name)
    reader.read_all()

    def join_next() -> bool:
        batches = [reader.batch(partition, dict.fromkeys(Offsets._fields, 99)) for partition in range(PARTITIONS)]
        completed = reader.joiner.join(batches)
        reader.fences |= {batch.partition: batch.end for batch in batches}
        return completed

    assert not join_next()
    for name in names:
        world.result(PHONES[1], "failed", (name, 0))
        world.result(PHONES[0], "failed", (name, 0))
        for of in names:
            world.event(SetPriority(upload_id=of, at=world.now, by="jane", priority=5))
        assert join_next()
    world.result(PHONES[0], "ok")
    assert not join_next()
    assert len(world.completions()) == 2


def test_an_upload_that_is_opened_after_its_end_was_told_completes(world: World) -> None:
    world.fed(0)
    world.reader.read_all()
    assert world.completions() == []
    world.open()
    world.reader.read_all()
    assert [kind for kind, _ in world.completions()] == ["phone-scrubber.upload.completed.v1"]


def test_what_was_looked_up_is_summed_up_over_all_uploads_each_result_once(world: World) -> None:
    same = [phone for phone in PHONES if partition_of(phone) == 0]
    for name in (U, OTHER):
        world.open(name)
        for number, phone in enumerate(same, 1):
            world.row(number, phone, upload_id=name)
    first = world.result(same[0], "ok", (U, 0), calls=3)
    world.write("lookup_results", first.phone, first)
    world.result(same[1], "ok", (OTHER, 0), calls=4)
    world.result(same[2], "failed", (U, 0), calls=2)
    world.reader.read_all()
    with world.reader.engine.connect() as connection:
        totals = queue_totals(connection)
    assert (totals.answered, totals.failed, totals.retries) == (2, 1, 2 + 3 + 1)
    assert states(world, OTHER) == {1: "answered", 2: "answered", 3: "waiting"}


@pytest.mark.parametrize("partition", range(PARTITIONS))
def test_a_partition_without_results_hides_none_of_the_others(world: World, partition: int) -> None:
    phone = next(phone for phone in PHONES if partition_of(phone) == partition)
    world.open()
    world.row(1, phone)
    world.result(phone, "ok", (U, 0))
    world.reader.read_all()
    assert states(world) == {1: "answered"}

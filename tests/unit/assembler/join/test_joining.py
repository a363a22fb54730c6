"""What the join makes of records, told one case at a time: answers, rounds, cancellation, repeats, bad records."""

from collections.abc import Iterator
from contextlib import nullcontext
from datetime import timedelta

import pytest
from sqlalchemy.exc import DatabaseError, IntegrityError

from schemas.base import Message
from schemas.ids import completion_id
from schemas.interface import Upload
from schemas.lookups import LookupResult, Outcome
from schemas.rows import RejectedRow, RowError, RowErrorCode, UploadRow
from schemas.upload_events import (
    CancelUpload,
    DeleteUpload,
    RetryFailed,
    UploadChecked,
    UploadFed,
    UploadOpened,
    UploadRefused,
)
from schemas.uploads import Counts, Detected, FileCounts, PlanQuestion, UploadOptions
from services.assembler.domain.positions import Offsets
from services.assembler.join.progress import progress_of
from services.assembler.store.dialect import connect
from services.assembler.store.fences import FenceLost
from services.assembler.store.outbox import unpublished
from services.assembler.store.reads import list_audit, row_changes_since
from services.assembler.store.upload_writes import open_uploads, uploads_by_number
from tests.fixtures.ids import upload_id
from tests.fixtures.postgres import DATABASES, fresh_schema
from tests.unit.assembler.join.join_log import (
    PARTITIONS,
    PHONES,
    START,
    Log,
    Reader,
    allow_rows,
    forbid_row,
    lookup_result,
)

U = upload_id("upload-1")
OTHER = upload_id("upload-2")


class World:
    """An upload's records, written by hand, and a reader that joins them."""

    def __init__(self, reader: Reader) -> None:
        self.log = reader.log
        self.reader = reader
        self.now = START

    def write(self, topic: str, key: str, value: Message | None) -> None:
        self.now += timedelta(seconds=1)
        self.log.append(topic, key, value, at=self.now)

    def event(self, event: Message) -> None:
        # Every upload event has an id.
        self.write("upload_events", event.upload_id, event)  # type: ignore[attr-defined]

    def open(self, upload_id: str = U, *, options: UploadOptions | None = None) -> None:
        self.event(
            UploadOpened(
                upload_id=upload_id,
                at=self.now,
                by="jane",
                name="a.csv",
                owner="jane",
                options=options or UploadOptions(),
            )
        )

    def row(self, number: int, phone: str, *, upload_id: str = U, round_: int = 0) -> None:
        self.write("upload_rows", phone, self._row(number, phone, upload_id, round_))

    def misplaced_row(self, number: int, phone: str, *, upload_id: str, partition: int) -> None:
        """A row by a producer with another partitioner."""
        self.now += timedelta(seconds=1)
        row = self._row(number, phone, upload_id, 0)
        self.log.append("upload_rows", phone, row, at=self.now, partition=partition)

    def _row(self, number: int, phone: str, upload_id: str, round_: int) -> UploadRow:
        return UploadRow(
            upload_id=upload_id,
            row=number,
            round=round_,
            phone=phone,
            cells=("Jane", phone),
            owner="jane",
            wanted_at=START,
            accept_since=START,
        )

    def rejected(self, number: int, code: RowErrorCode = "no_phone") -> None:
        self.write(
            "rejected_rows", U, RejectedRow(upload_id=U, row=number, cells=("Jane", ""), error=RowError(code=code))
        )

    def fed(self, rows: int, *, upload_id: str = U) -> None:
        self.event(UploadFed(upload_id=upload_id, at=self.now, rows=rows, rejected=0))

    def result(
        self,
        phone: str,
        outcome: Outcome = "ok",
        *names: tuple[str, int],
        age_seconds: int = 0,
        calls: int = 1,
        error_code: str = "timeout",
    ) -> LookupResult:
        at = self.now - timedelta(seconds=age_seconds)
        result = lookup_result(phone, outcome, at=at, answers=names, calls=calls, error_code=error_code)
        self.write("lookup_results", phone, result)
        return result

    def counts(self) -> Counts:
        return self.reader.upload(U).counts

    def completions(self) -> list[tuple[str, Upload]]:
        with self.reader.engine.connect() as connection:
            found = unpublished(connection, range(PARTITIONS))
        return [(completion.type, Upload.model_validate_json(completion.value)) for completion in found]


@pytest.fixture(params=DATABASES)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with fresh_schema() if request.param == "postgresql" else nullcontext("sqlite://") as url:
        reader = Reader(Log(), connect(url))
        yield World(reader)
        reader.engine.dispose()


def test_an_upload_completes_when_all_it_was_fed_is_stored_and_none_waits(world: World) -> None:
    world.open()
    world.row(1, PHONES[0])
    world.row(2, PHONES[0])
    world.rejected(3)
    world.fed(3)
    world.reader.read_all()
    assert world.reader.upload(U).state == "in_progress"
    assert world.completions() == []
    world.result(PHONES[0], "ok", (U, 0))
    world.reader.read_all()
    (kind, upload), *more = world.completions()
    assert (kind, upload.state, upload.outcome, more) == (
        "phone-scrubber.upload.completed.v1",
        "completed",
        "partial",
        [],
    )
    assert upload.counts == Counts(rows=3, answered=2, rejected=1, duplicates=1, calls=1)
    assert upload.summary.verdict == {"ok": 2}


def test_rows_and_results_before_the_upload_is_known_to_exist_are_kept_for_it(world: World) -> None:
    world.row(1, PHONES[0])
    world.result(PHONES[0], "ok", (U, 0))
    world.reader.read_all()
    world.open()
    world.fed(1)
    world.reader.read_all()
    assert world.counts() == Counts(rows=1, answered=1, calls=1)
    assert world.reader.upload(U).state == "completed"


def test_an_old_answer_is_reused_only_while_it_is_fresh_enough(world: World) -> None:
    world.result(PHONES[0], age_seconds=50)
    world.result(PHONES[1], age_seconds=200)
    world.open()
    world.row(1, PHONES[0])
    world.row(2, PHONES[1])
    world.reader.read_all()
    assert world.reader.rows(U) == {1: ("answered", PHONES[0]), 2: ("waiting", PHONES[1])}


def test_a_repeated_row_counts_once(world: World) -> None:
    world.open()
    world.row(1, PHONES[0])
    world.row(1, PHONES[0])
    world.reader.read_all()
    world.row(1, PHONES[0])
    world.row(2, PHONES[0])
    world.reader.read_all()
    assert world.counts().rows == 2


@pytest.mark.parametrize("rejected_first", [True, False])
def test_a_usable_row_stands_over_one_left_over_at_a_cancellation(world: World, *, rejected_first: bool) -> None:
    world.open()
    if rejected_first:
        world.rejected(1, "cancelled")
        world.reader.read_all()
        world.row(1, PHONES[0])
    else:
        world.row(1, PHONES[0])
        world.reader.read_all()
        world.rejected(1, "cancelled")
    world.reader.read_all()
    assert world.reader.rows(U) == {1: ("waiting", PHONES[0])}
    assert world.counts() == Counts(rows=1, waiting=1)


def test_a_cancelled_upload_keeps_what_was_known_until_then(world: World) -> None:
    world.open()
    world.row(1, PHONES[0])
    world.row(2, PHONES[1])
    world.result(PHONES[0], "ok", (U, 0))
    world.reader.read_all()
    cancelled_at = world.now
    world.event(CancelUpload(upload_id=U, at=cancelled_at, by="jane"))
    world.rejected(3, "cancelled")
    world.reader.read_all()
    assert world.reader.upload(U).state == "cancelled"
    assert world.completions() == []
    world.fed(3)
    world.result(PHONES[1], "ok", (OTHER, 0))
    world.reader.read_all()
    (kind, upload), *_ = world.completions()
    assert kind == "phone-scrubber.upload.cancelled.v1"
    assert upload.counts == Counts(rows=3, answered=1, unprocessed=2, calls=1)


def test_what_others_looked_up_after_the_cancellation_is_taken_back(world: World) -> None:
    """A result may be read before a cancellation that came earlier: times decide, not the order of reading."""
    world.open()
    world.row(1, PHONES[0])
    cancelled_at = world.now
    world.now += timedelta(seconds=10)
    world.result(PHONES[0], "ok", (OTHER, 0))
    world.reader.read_all()
    assert world.counts().answered == 1
    world.event(CancelUpload(upload_id=U, at=cancelled_at, by="jane"))
    world.reader.read_all()
    assert world.reader.upload(U).verdicts == {}
    assert world.counts() == Counts(rows=1, unprocessed=1)


def test_retry_asks_again_for_failed_rows_and_completes_once_more(world: World) -> None:
    world.open()
    world.row(1, PHONES[0])
    world.row(2, PHONES[1])
    world.fed(2)
    world.result(PHONES[0], "failed", (U, 0), calls=3)
    world.result(PHONES[1], "ok", (U, 0))
    world.reader.read_all()
    assert world.counts() == Counts(rows=2, answered=1, failed=1, calls=4, retries=2)
    world.event(RetryFailed(upload_id=U, at=world.now, by="jane", round=1))
    world.reader.read_all()
    assert world.reader.upload(U).state == "in_progress"
    assert world.counts() == Counts(rows=2, answered=1, waiting=1, calls=4, retries=2)
    world.row(1, PHONES[0], round_=1)
    world.result(PHONES[0], "failed", (U, 0))
    world.reader.read_all()
    assert world.counts().waiting == 1, "a failure of an earlier round answers no more"
    world.result(PHONES[0], "ok", (U, 1))
    world.reader.read_all()
    assert [upload.round for _, upload in world.completions()] in ([0, 1], [1, 0])
    assert set(world.reader.completion_ids()) == {completion_id(U, 0), completion_id(U, 1)}


def test_a_refused_file_ends_its_upload(world: World) -> None:
    world.open()
    world.event(UploadRefused(upload_id=U, at=world.now, code="no-phone-column", title="No phones", detail="Choose."))
    world.reader.read_all()
    ((kind, upload),) = world.completions()
    assert kind == "phone-scrubber.upload.failed.v1"
    assert upload.error is not None
    assert upload.error.code == "no-phone-column"


def test_the_plan_knows_how_many_phones_were_known_when_it_asked(world: World) -> None:
    world.open()
    checked = UploadChecked(
        upload_id=U,
        at=world.now,
        check_id="c",
        detected=Detected(format="csv"),
        counts=FileCounts(rows=9, with_phone=9, usable=8, split=0, distinct=3),
        options=UploadOptions(),
    )
    world.event(checked)
    world.result(PHONES[0])
    world.result(PHONES[1], "failed", (OTHER, 0))
    for batch, phones in enumerate([PHONES[:2], PHONES[2:3]]):
        question = PlanQuestion(
            upload_id=U, check_id="c", batch=batch, last=batch == 1, accept_since=START, phones=phones
        )
        world.write("plan_questions", U, question)
        world.write("plan_questions", U, question)
    world.result(PHONES[2])
    world.reader.read_all(["upload_events", "lookup_results", "plan_questions"])
    record = world.reader.upload(U)
    assert (record.plan_distinct, record.plan_known) == (3, 1)
    assert record.counts == Counts(rows=9, unprocessed=9, duplicates=5)


def test_a_deleted_upload_is_gone_and_what_comes_for_it_is_dropped(world: World) -> None:
    world.open()
    world.row(1, PHONES[0])
    world.event(DeleteUpload(upload_id=U, at=world.now, by="jane"))
    world.reader.read_all()
    world.row(2, PHONES[0])
    world.result(PHONES[0], "ok", (U, 0))
    world.reader.read_all()
    with pytest.raises(AssertionError):
        world.reader.upload(U)
    assert len(world.reader.rows(U)) == 1


def test_a_result_answers_the_rows_of_others_when_one_upload_that_awaits_it_was_deleted(world: World) -> None:
    for name in (U, OTHER):
        world.open(name)
        world.row(1, PHONES[0], upload_id=name)
        world.row(2, PHONES[0], upload_id=name)
    world.event(DeleteUpload(upload_id=U, at=world.now, by="jane"))
    world.reader.read_all()
    world.result(PHONES[0], "ok", (U, 0))
    world.reader.read_all()
    assert {state for state, _ in world.reader.rows(OTHER).values()} == {"answered"}
    assert {state for state, _ in world.reader.rows(U).values()} == {"waiting"}


def test_an_erased_phone_stays_erased_when_its_rows_come_again_or_the_database_is_rebuilt(world: World) -> None:
    world.open()
    world.row(1, PHONES[0])
    world.row(2, PHONES[1])
    world.result(PHONES[0], "ok", (U, 0))
    world.reader.read_all()
    world.write("lookup_results", PHONES[0], None)
    world.reader.read_all()
    world.row(1, PHONES[0])
    world.reader.read_all()
    rebuilt = Reader(world.log)
    rebuilt.read_all(["lookup_results", "upload_rows", "upload_events"])
    for reader in (world.reader, rebuilt):
        assert reader.rows(U) == {1: ("unprocessed", None), 2: ("waiting", PHONES[1])}
        assert reader.upload(U).verdicts == {}


def test_records_that_say_nothing_are_reported_with_their_place_and_without_their_content(world: World) -> None:
    bodies = {
        "upload_rows": b'{"upload_id":"u","row":99999999999999999999,"phone":"+14155550100","cells":[]}',
        "rejected_rows": b"{",
        "lookup_results": b'{"phone":"+14155550100"}',
        "upload_events": b'{"type":"upload_exploded"}',
        "plan_questions": b"[]",
    }
    for topic, body in bodies.items():
        world.log.append(topic, "\x00", body, at=START)
    batch = world.reader.batch(0, dict.fromkeys(bodies, 1))
    assert [bad.topic for bad in batch.undecodable] == [topic.replace("_", "-") for topic in bodies]
    assert not any("4155550100" in bad.error for bad in batch.undecodable)
    world.reader.join(batch)
    assert set(world.reader.fences[0]) == {1}


def test_a_join_that_lost_its_partition_writes_nothing(world: World) -> None:
    world.open()
    stale = world.reader.batch(0, {"upload_events": 1}), world.reader.batch(1, {"upload_events": 1})
    world.reader.join(*stale)
    with pytest.raises(FenceLost):
        world.reader.join(*stale)
    assert world.reader.upload(U).version == 1


def test_live_views_learn_which_rows_changed_and_when_that_is_not_all(world: World) -> None:
    world.open()
    world.row(1, PHONES[0])
    world.reader.read_all()
    seen = world.reader.upload(U)
    world.row(2, PHONES[1])
    world.result(PHONES[0], "ok", (U, 0))
    world.reader.read_all()
    with world.reader.engine.connect() as connection:
        changes = row_changes_since(connection, seen, seen.version)
        assert (set(changes.rows), changes.complete) == ({1, 2}, True)
        assert row_changes_since(connection, seen, changes.seq).rows == ()
    for number in range(3, 303):
        world.row(number, PHONES[1])
    world.reader.read_all()
    with world.reader.engine.connect() as connection:
        many = row_changes_since(connection, seen, changes.seq)
    assert len(many.rows) == 200
    assert not many.complete


def test_who_asked_for_what_is_remembered(world: World) -> None:
    world.open()
    world.event(CancelUpload(upload_id=U, at=world.now, by="joe"))
    world.reader.read_all()
    with world.reader.engine.connect() as connection:
        assert [(entry.by, entry.action) for entry in list_audit(connection)] == [
            ("joe", "cancel_upload"),
            ("jane", "upload_opened"),
        ]


def test_what_a_transaction_learned_that_did_not_stand_is_forgotten(world: World) -> None:
    world.open()
    world.row(1, PHONES[0])
    world.reader.read_all()
    forbid_row(world.reader.engine, 2)
    world.row(2, PHONES[0])
    world.result(PHONES[0], "ok", (U, 0))
    with pytest.raises(IntegrityError):
        world.reader.join(*(world.reader.batch(n, dict.fromkeys(Offsets._fields, 9)) for n in range(PARTITIONS)))
    allow_rows(world.reader.engine)
    world.reader.read_all()
    assert world.reader.rows(U) == {1: ("answered", PHONES[0]), 2: ("answered", PHONES[0])}
    assert world.counts() == Counts(rows=2, answered=2, calls=1)


@pytest.mark.parametrize("events_first", [True, False])
def test_a_cancellation_after_the_last_answer_leaves_the_upload_completed(world: World, *, events_first: bool) -> None:
    """Whether the join was away meanwhile or not: times decide, and the event says what the page says."""
    world.open()
    world.row(1, PHONES[0])
    world.fed(1)
    world.result(PHONES[0], "ok", (U, 0))
    if not events_first:
        world.reader.read_all()
    world.now += timedelta(seconds=5)
    world.event(CancelUpload(upload_id=U, at=world.now, by="jane"))
    world.reader.read_all(["upload_events", "lookup_results", "upload_rows"])
    assert world.reader.upload(U).state == "completed"
    ((kind, upload),) = world.completions()
    assert (kind, upload.state) == ("phone-scrubber.upload.completed.v1", "completed")


def test_a_cancellation_that_crosses_the_end_changes_nothing_that_was_announced(world: World) -> None:
    world.open()
    world.row(1, PHONES[0])
    world.fed(1)
    cancelled_at = world.now
    world.now += timedelta(seconds=10)
    world.result(PHONES[0], "ok", (OTHER, 0))
    world.reader.read_all()
    announced = world.completions()
    world.event(CancelUpload(upload_id=U, at=cancelled_at, by="jane"))
    world.reader.read_all()
    rebuilt = Reader(world.log)
    rebuilt.remember_published(world.reader)
    rebuilt.read_all()
    for reader in (world.reader, rebuilt):
        record = reader.upload(U)
        assert (record.state, record.answered) == ("completed", 1)
        assert [type_ for type_, _ in announced] == ["phone-scrubber.upload.completed.v1"]
        assert record.cancelled_at == record.finished_at


def test_an_end_that_was_announced_as_cancelled_stays_cancelled_when_the_answer_comes(world: World) -> None:
    world.open()
    world.row(1, PHONES[0])
    world.fed(1)
    looked_up = world.now
    world.now += timedelta(seconds=5)
    world.event(CancelUpload(upload_id=U, at=world.now, by="jane"))
    world.reader.read_all()
    assert [kind for kind, _ in world.completions()] == ["phone-scrubber.upload.cancelled.v1"]
    in_flight = lookup_result(PHONES[0], "ok", at=looked_up, answers=[(U, 0)])
    world.write("lookup_results", PHONES[0], in_flight)
    world.reader.read_all()
    record = world.reader.upload(U)
    assert (record.state, record.answered) == ("cancelled", 1)


def test_sums_that_hostile_records_drive_out_of_range_can_still_be_told(world: World) -> None:
    world.open()
    world.event(
        UploadChecked(
            upload_id=U,
            at=world.now,
            check_id="c",
            detected=Detected(format="csv"),
            counts=FileCounts(rows=1, with_phone=0, usable=0, split=0, distinct=9),
            options=UploadOptions(),
        )
    )
    world.row(1, PHONES[0])
    world.fed(1)
    for _ in range(2):
        world.result(PHONES[0], "ok", (U, 0), calls=2**31 - 1)
    world.open(OTHER)
    world.row(1, PHONES[0], upload_id=OTHER)
    world.fed(1, upload_id=OTHER)
    world.reader.read_all()
    world.write("lookup_results", PHONES[0], None)
    world.reader.read_all()
    for name in (U, OTHER):
        progress = progress_of(world.reader.upload(name), epoch="e", now=START)
        assert progress.counts.duplicates == 0
    assert world.counts().calls == 2**31 - 1
    assert len(world.completions()) == 2


def test_more_uploads_are_opened_at_once_than_a_statement_takes(world: World) -> None:
    """A result may name any number of them."""
    names = [upload_id(f"u{number}") for number in range(33_000)]
    with world.reader.engine.begin() as connection:
        opened = open_uploads(connection, names, now=START)
        assert {record.id for record in opened} == set(names)
        numbers = [record.no for record in opened]
        assert len(uploads_by_number(connection, numbers)) == len(names)


def test_errors_of_the_database_show_no_phone(world: World) -> None:
    world.reader.joiner.join([])
    with world.reader.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE rows")
    world.open()
    world.row(1, PHONES[0])
    with pytest.raises(DatabaseError) as failure:
        world.reader.read_all()
    assert PHONES[0] not in str(failure.value)

"""Any interleaving of the logs, repeats, restarts and a rebuild from nothing: the join says what the records mean."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import ClassVar

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from schemas.ids import completion_id
from schemas.lookups import LookupResult, Outcome
from schemas.rows import RejectedRow, RowError, RowErrorCode, UploadRow
from schemas.upload_events import CancelUpload, RetryFailed, StartUpload, UploadFed, UploadOpened
from schemas.uploads import UploadOptions
from services.assembler.domain.lifecycle import Announced
from services.assembler.domain.positions import Offsets
from services.assembler.store.fences import FenceLost
from tests.fixtures.ids import upload_id
from tests.unit.assembler.join.join_log import (
    PARTITIONS,
    PHONES,
    START,
    Log,
    Reader,
    Truth,
    TwoJoins,
    lookup_result,
    tally,
)

FEW = st.integers(0, 3)
RESULT = st.tuples(
    st.sampled_from(PHONES),
    st.sampled_from(["ok", "not_valid", "failed"]),
    st.sampled_from([0, 2, 300]),
    st.lists(st.sampled_from([0, None, 1]), min_size=3, max_size=3),
    st.integers(0, 2),
)
READS = st.fixed_dictionaries(dict.fromkeys(Offsets._fields, FEW))


class JoinMachine(RuleBasedStateMachine):
    """Writers append to the logs as the other services do; a reader joins some of them now and then."""

    join_or_joins: ClassVar[type[Reader]] = Reader
    uploads = Bundle("uploads")
    feeding = Bundle("feeding")

    @initialize(target=feeding)
    def begin(self) -> Truth:
        self.log = Log()
        self.reader = self.join_or_joins(self.log)
        self.now = START
        self.truths: dict[str, Truth] = {}
        self.results: dict[str, list[LookupResult]] = {phone: [] for phone in PHONES}
        self.forgotten: set[str] = set()
        return self.open_upload(started=True)

    def tick(self, seconds: int = 1) -> datetime:
        self.now += timedelta(seconds=seconds)
        return self.now

    def event(self, event: object) -> None:
        # Every upload event has an id.
        self.log.append("upload_events", event.upload_id, event, at=self.now)  # type: ignore[attr-defined,arg-type]

    # Writers.

    @precondition(lambda self: len(self.truths) < 3)
    @rule(target=feeding, started=st.booleans())
    def open_another(self, started: bool) -> Truth:
        return self.open_upload(started=started)

    def open_upload(self, *, started: bool) -> Truth:
        truth = Truth(upload_id(f"upload-{len(self.truths)}"), opened=True, wanted_at=self.tick() if started else None)
        self.truths[truth.id] = truth
        options = UploadOptions(start=started)
        opened = UploadOpened(upload_id=truth.id, at=self.now, by="jane", name="a.csv", owner="jane", options=options)
        self.event(opened)
        return truth

    @rule(truth=feeding)
    def start(self, truth: Truth) -> None:
        truth.wanted_at = truth.wanted_at or self.tick()
        self.event(StartUpload(upload_id=truth.id, at=self.now, by="jane"))

    @rule(truth=feeding, phones=st.lists(st.sampled_from(PHONES), min_size=1, max_size=6))
    def publish_rows(self, truth: Truth, phones: list[str]) -> None:
        for phone in phones:
            if phone in self.forgotten:
                continue
            number = len(truth.published) + 1
            truth.usable[number] = phone
            self.publish(truth, number)

    def publish(self, truth: Truth, number: int, *, phone: str | None = None) -> None:
        wanted_at = truth.wanted_at or self.now
        row = UploadRow(
            upload_id=truth.id,
            row=number,
            round=truth.round,
            phone=phone or truth.usable[number],
            cells=("a", phone or truth.usable[number]),
            owner="jane",
            wanted_at=wanted_at,
            accept_since=wanted_at,
        )
        self.log.append("upload_rows", row.phone, row, at=self.tick())

    @rule(truth=feeding | uploads, data=st.data())
    def publish_a_row_again(self, truth: Truth, data: st.DataObject) -> None:
        """The feeder crashed before its checkpoint, the sweep found a zombie, or failed rows are asked again."""
        if truth.usable:
            self.publish(truth, data.draw(st.sampled_from(sorted(truth.usable))))

    @rule(truth=feeding, phone=st.sampled_from(PHONES), data=st.data())
    def publish_a_row_again_with_another_phone(self, truth: Truth, phone: str, data: st.DataObject) -> None:
        """A producer's mistake: the earlier record stands, whichever partition is read first."""
        if truth.usable and phone not in self.forgotten:
            number = data.draw(st.sampled_from(sorted(truth.usable)))
            if truth.usable[number] not in self.forgotten:
                self.publish(truth, number, phone=phone)

    @rule(truth=feeding, code=st.sampled_from(["no_phone", "cancelled"]), again=st.booleans(), data=st.data())
    def publish_rejected(self, truth: Truth, code: RowErrorCode, again: bool, data: st.DataObject) -> None:
        """`again`: a row that was published before; then a usable one stands, else the first."""
        number = len(truth.published) + 1
        if again and truth.published:
            number = data.draw(st.sampled_from(sorted(truth.published)))
        truth.rejected.setdefault(number, code)
        row = RejectedRow(upload_id=truth.id, row=number, cells=("a", ""), error=RowError(code=code))
        self.log.append("rejected_rows", truth.id, row, at=self.tick())

    @rule(target=uploads, truth=consumes(feeding))
    def feed(self, truth: Truth) -> Truth:
        truth.fed_rows = len(truth.published)
        self.event(UploadFed(upload_id=truth.id, at=self.tick(), rows=truth.fed_rows, rejected=len(truth.rejected)))
        return truth

    @rule(truth=feeding | uploads)
    def cancel(self, truth: Truth) -> None:
        truth.cancelled_at = truth.cancelled_at or self.tick()
        self.event(CancelUpload(upload_id=truth.id, at=self.now, by="jane"))

    @rule(truth=uploads, next_round=st.integers(0, 1))
    def retry_failed(self, truth: Truth, next_round: int) -> None:
        """The command may come twice; after a cancellation it means nothing."""
        round_ = max(1, truth.round + next_round)
        if truth.cancelled_at is None:
            truth.round = round_
        self.event(RetryFailed(upload_id=truth.id, at=self.tick(), by="jane", round=round_))

    @rule(results=st.lists(RESULT, min_size=1, max_size=4))
    def publish_results(self, results: list[tuple[str, Outcome, int, list[int | None], int]]) -> None:
        """`rounds`: by upload, which of its rounds the result names, counted down from the present one."""
        for phone, outcome, age, rounds, calls in results:
            named = [(truth, back) for truth, back in zip(self.truths.values(), rounds, strict=False)]
            answers = [(truth.id, max(0, truth.round - back)) for truth, back in named if back is not None]
            # No two results are of the same moment.
            moment = sum(map(len, self.results_ever()))
            looked_up_at = self.tick() - timedelta(seconds=age, microseconds=moment)
            result = lookup_result(phone, outcome, at=looked_up_at, answers=answers, calls=calls)
            self.log.append("lookup_results", phone, result, at=self.now)
            self.results[phone].append(result)

    @rule(data=st.data())
    def publish_a_result_again(self, data: st.DataObject) -> None:
        """The gate's producer failed before it knew that Kafka had taken the result."""
        known = [result for phone, results in self.results.items() if phone not in self.forgotten for result in results]
        if known:
            result = data.draw(st.sampled_from(known))
            self.log.append("lookup_results", result.phone, result, at=self.now)

    @precondition(lambda self: len(self.log.records["lookup_results", 0]) > 2)
    @rule(phone=st.sampled_from(PHONES[:2]))
    def forget_phone(self, phone: str) -> None:
        self.log.append("lookup_results", phone, None, at=self.tick())
        self.forgotten.add(phone)
        self.results[phone] = []
        for truth in self.truths.values():
            truth.erased |= {row for row, of_row in truth.usable.items() if of_row == phone}

    # The reader.

    @rule(partition=st.integers(0, PARTITIONS - 1), wanted=READS)
    def read_some(self, partition: int, wanted: dict[str, int]) -> None:
        self.log.append("upload_rows", chr(partition), b"{", at=self.now)
        self.reader.read(partition, wanted)

    @rule(first=READS, second=READS)
    def read_some_of_both(self, first: dict[str, int], second: dict[str, int]) -> None:
        self.reader.join(self.reader.batch(0, first), self.reader.batch(1, second))

    @rule()
    def restart(self) -> None:
        self.reader.restart()

    @precondition(lambda self: len(self.truths) > 1)
    @rule(partition=st.integers(0, PARTITIONS - 1))
    def join_what_another_has_joined(self, partition: int) -> None:
        """A join that lost its partitions without noticing writes nothing at all."""
        stale = self.reader.batch(partition, dict.fromkeys(Offsets._fields, 2))
        if stale.end == stale.start:
            return
        self.reader.join(stale)
        before = self.reader.snapshot()
        try:
            self.reader.join(stale)
        except FenceLost:
            assert self.reader.snapshot() == before
        else:
            raise AssertionError("a stale join wrote something")

    @rule()
    def read_everything(self) -> None:
        self.reader.read_all()
        self.check_the_truth(self.reader)

    @precondition(lambda self: self.truths)
    @rule(order=st.permutations(Offsets._fields))
    def rebuild(self, order: list[str]) -> None:
        self.reader.read_all()
        rebuilt = Reader(self.log)
        rebuilt.remember_published(self.reader)
        rebuilt.read_all(order)
        assert rebuilt.snapshot() == self.reader.snapshot()
        assert set(rebuilt.completion_ids()) <= set(self.reader.completion_ids())
        self.check_the_truth(rebuilt)

    def check_the_truth(self, reader: Reader) -> None:
        paid = {truth.id: 0 for truth in self.truths.values()}
        for results in self.results_ever():
            for result in results:
                for call in result.calls:
                    paid[call.upload_id] += call.calls
        for truth in self.truths.values():
            record = reader.upload(truth.id)
            announced = reader.announced(record)
            if truth.cancelled_at is not None and record.cancelled_at != truth.cancelled_at:
                # It crossed the end of the round, and counts as of then.
                assert announced is not None
                assert record.cancelled_at == announced.at > truth.cancelled_at
            truth = replace(truth, cancelled_at=record.cancelled_at)
            states = truth.states(self.results)
            assert {row: state for row, (state, _) in reader.rows(truth.id).items()} == states
            assert {state: getattr(record, state) for state in tally(states)} == tally(states)
            assert record.state == truth.state(states, None if announced is None else announced.state)
            assert record.finished_at is None or announced == Announced(record.state, record.finished_at)
            assert record.calls == paid[truth.id]
            assert sum(record.verdicts.values()) == record.answered
            if record.state == "completed":
                assert completion_id(truth.id, truth.round) in reader.completion_ids()

    def results_ever(self) -> list[list[LookupResult]]:
        """Each result once, however often it was published."""
        return [
            [LookupResult.model_validate_json(value) for value in {record.value for record in records} if value]
            for (topic, _), records in self.log.records.items()
            if topic == "lookup_results"
        ]

    @invariant()
    def every_row_is_in_one_state(self) -> None:
        for record in self.reader.opened_uploads():
            counts = record.counts
            states = (counts.waiting, counts.answered, counts.failed, counts.rejected, counts.unprocessed)
            assert counts.rows == sum(states)
            assert min(states) >= 0
            assert record.stored_rows == len(self.reader.rows(record.id))

    def teardown(self) -> None:
        if hasattr(self, "reader"):
            self.reader.read_all()
            self.check_the_truth(self.reader)
            self.reader.engine.dispose()


class TwoJoinsMachine(JoinMachine):
    """The same for two joins on one database, each with a partition of its own."""

    join_or_joins = TwoJoins


JoinMachine.TestCase.settings = hypothesis_settings(max_examples=30, stateful_step_count=30, deadline=None)
TwoJoinsMachine.TestCase.settings = JoinMachine.TestCase.settings
TestJoinMachine = JoinMachine.TestCase
TestTwoJoinsMachine = TwoJoinsMachine.TestCase

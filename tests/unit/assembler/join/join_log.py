"""A small Kafka for tests of the join: logs in memory, the readers' view of them, and what they mean taken together."""

import weakref
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, select

from schemas.answers import Want, first_answer
from schemas.base import Message
from schemas.codec import encode
from schemas.lookups import (
    Answered,
    AttemptError,
    LaneStatus,
    LookupResult,
    LookupStatus,
    Outcome,
    PaidCalls,
    PhoneData,
)
from schemas.settings import Settings
from services.assembler.domain.decoding import PartitionBatch, decode_partition
from services.assembler.domain.lifecycle import Announced
from services.assembler.domain.positions import Offsets
from services.assembler.domain.row_state import State
from services.assembler.domain.stored import StoredUpload
from services.assembler.join.transaction.transaction import Joiner
from services.assembler.store.dialect import connect
from services.assembler.store.meta import prepare
from services.assembler.store.outbox import Completion, announced_end, remember_published
from services.assembler.store.reads import list_uploads
from services.assembler.store.reads import upload as read_upload
from services.assembler.store.tables import outbox, rows, uploads

START = datetime(2026, 3, 1, tzinfo=UTC)
PHONES = tuple(f"+141555501{number:02d}" for number in range(6))
PARTITIONS = 2
SETTINGS = Settings(max_age_seconds=100)


@dataclass(frozen=True, slots=True)
class LogRecord:
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


@dataclass
class Log:
    """The five topics, each with the same number of partitions."""

    records: dict[tuple[str, int], list[LogRecord]] = field(
        default_factory=lambda: {(t, p): [] for t in Offsets._fields for p in range(PARTITIONS)}
    )

    def append(
        self, topic: str, key: str, value: Message | bytes | None, *, at: datetime, partition: int | None = None
    ) -> LogRecord:
        partition = partition_of(key) if partition is None else partition
        log = self.records[topic, partition]
        body = value if value is None or isinstance(value, bytes) else encode(value)
        record = LogRecord(partition, len(log), int(at.timestamp() * 1000), key.encode(), body)
        log.append(record)
        return record


def partition_of(key: str) -> int:
    return sum(key.encode()) % PARTITIONS


def lookup_result(
    phone: str,
    outcome: Outcome,
    *,
    at: datetime,
    answers: Iterable[tuple[str, int]] = (),
    calls: int = 0,
    error_code: str = "timeout",
) -> LookupResult:
    pairs = tuple(Answered(upload_id=upload_id, round=round_) for upload_id, round_ in answers)
    return LookupResult(
        phone=phone,
        outcome=outcome,
        data=PhoneData(line_type="mobile", reachable="yes", do_not_call="no") if outcome == "ok" else None,
        provider="simulator",
        looked_up_at=at,
        attempts=max(1, calls),
        error=AttemptError(error_class="wait", code=error_code, detail="none", at=at) if outcome == "failed" else None,
        answers=pairs,
        calls=tuple(PaidCalls(upload_id=pair.upload_id, calls=calls) for pair in pairs[:1] if calls),
    )


class Reader:
    """A join in one thread: reads the log as far as it is told, from where its database says."""

    def __init__(self, log: Log, engine: Engine | None = None) -> None:
        self.log = log
        self.engine = engine or connect("sqlite://")
        # Python 3.13 warns of a database that is collected while open.
        weakref.finalize(self, self.engine.dispose)
        prepare(self.engine)
        self.restart()

    def restart(self) -> None:
        """A new process on the same database."""
        self.joiner = Joiner(self.engine, SETTINGS)
        self.fences = self.joiner.take_over(range(PARTITIONS))

    def batch(self, partition: int, wanted: dict[str, int]) -> PartitionBatch:
        """The next records of a partition: at most so many of each topic."""
        start = self.fences[partition]
        taken = {
            topic: self.log.records[topic, partition][getattr(start, topic) :][:count]
            for topic, count in wanted.items()
        }
        return decode_partition(partition, start, taken.items())

    def join(self, *batches: PartitionBatch) -> None:
        self.joiner.join(batches)
        for batch in batches:
            self.fences[batch.partition] = batch.end

    def read(self, partition: int, wanted: dict[str, int]) -> None:
        self.join(self.batch(partition, wanted))

    def read_all(self, topics: Iterable[str] = Offsets._fields) -> None:
        for topic in topics:
            self.join(*(self.batch(partition, {topic: 10**6}) for partition in range(PARTITIONS)))

    def upload(self, upload_id: str) -> StoredUpload:
        with self.engine.connect() as connection:
            found = read_upload(connection, upload_id)
        assert found is not None
        return found

    def opened_uploads(self) -> list[StoredUpload]:
        with self.engine.connect() as connection:
            return list_uploads(connection, limit=100)

    def rows(self, upload_id: str) -> dict[int, tuple[str, str | None]]:
        """State and phone by row number."""
        query = (
            select(rows.c.row, rows.c.state, rows.c.phone)
            .join(uploads, uploads.c.no == rows.c.upload_no)
            .where(uploads.c.id == upload_id)
        )
        with self.engine.connect() as connection:
            return {row: (State(state).name, phone) for row, state, phone in connection.execute(query)}

    def completion_ids(self) -> list[str]:
        with self.engine.connect() as connection:
            return sorted(connection.execute(select(outbox.c.id)).scalars())

    def announced(self, record: StoredUpload) -> Announced | None:
        """How the upload's round ended, as its completion event says."""
        with self.engine.connect() as connection:
            return announced_end(connection, record)

    def remember_published(self, other: "Reader") -> None:
        """Learns, as a new database does, which completion events are on Kafka: all that the other one wrote."""
        columns = (outbox.c.id, outbox.c.upload_id, outbox.c.type, outbox.c.at, outbox.c.value)
        with other.engine.connect() as connection:
            found = [Completion(*row) for row in connection.execute(select(*columns))]
        with self.engine.begin() as connection:
            remember_published(connection, found)

    def snapshot(self) -> object:
        """Everything people can see, without what only this database knows (numbers, versions)."""
        with self.engine.connect() as connection:
            ids = sorted(connection.execute(select(uploads.c.id).where(uploads.c.created_at.is_not(None))).scalars())
            records = [read_upload(connection, upload_id) for upload_id in ids]
        return [
            (r.id, r.state, r.round, r.finished_at, r.counts, r.verdicts, r.line_types, r.plan_known, self.rows(r.id))
            for r in records
            if r is not None
        ]


class TwoJoins(Reader):
    """Two joins of one database, each with one partition: neither learns from the other but by SQL."""

    def restart(self) -> None:
        self.joiners = [Joiner(self.engine, SETTINGS) for _ in range(PARTITIONS)]
        self.fences = {}
        for partition, joiner in enumerate(self.joiners):
            self.fences |= joiner.take_over([partition])

    def join(self, *batches: PartitionBatch) -> None:
        for batch in batches:
            self.joiners[batch.partition].join([batch])
            self.fences[batch.partition] = batch.end


def forbid_row(engine: Engine, row: int) -> None:
    """Makes the database refuse rows of this number, as it would a value that it cannot store."""
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            refusal = f"WHEN NEW.row = {row} BEGIN SELECT RAISE(ABORT, 'refused'); END"
            connection.exec_driver_sql(f"CREATE TRIGGER refuse BEFORE INSERT ON rows {refusal}")
        else:
            connection.exec_driver_sql(f"ALTER TABLE rows ADD CONSTRAINT refuse CHECK (row <> {row})")


def allow_rows(engine: Engine) -> None:
    """Takes the refusal back."""
    with engine.begin() as connection:
        on_sqlite = engine.dialect.name == "sqlite"
        connection.exec_driver_sql("DROP TRIGGER refuse" if on_sqlite else "ALTER TABLE rows DROP CONSTRAINT refuse")


@dataclass
class Truth:
    """What one upload's records mean, told without the join: kept by the test as it writes them."""

    id: str
    opened: bool = False
    wanted_at: datetime | None = None
    cancelled_at: datetime | None = None
    round: int = 0
    fed_rows: int | None = None
    usable: dict[int, str] = field(default_factory=dict)
    erased: set[int] = field(default_factory=set)
    rejected: dict[int, str] = field(default_factory=dict)

    @property
    def published(self) -> set[int]:
        return set(self.usable) | set(self.rejected)

    def want(self) -> Want | None:
        if not self.opened:
            return None
        since = datetime.max.replace(tzinfo=UTC)
        if self.wanted_at is not None:
            since = self.wanted_at - timedelta(seconds=SETTINGS.max_age_seconds)
        return Want(self.id, self.round, since, self.cancelled_at)

    def states(self, results: dict[str, list[LookupResult]]) -> dict[int, str]:
        """Each row's state, by the answer rule alone."""
        found = {row: "unprocessed" if code == "cancelled" else "rejected" for row, code in self.rejected.items()}
        want = self.want()
        for row, phone in self.usable.items():
            answer = None if want is None else first_answer(results[phone], want)
            found[row] = "waiting" if answer is None else "failed" if answer.outcome == "failed" else "answered"
        return found | dict.fromkeys(self.erased, "unprocessed")

    def state(self, states: dict[int, str], announced: str | None) -> str:
        """`announced`: how its round ended, as other systems were told."""
        complete = self.fed_rows is not None and len(states) >= self.fed_rows
        if self.cancelled_at is not None:
            return announced or "cancelled"
        if complete and "waiting" not in states.values():
            return "completed"
        if self.wanted_at is None:
            return "checked" if states else "pending"
        return "in_progress" if states else "pending"


def tally(states: dict[int, str]) -> Counter[str]:
    return Counter(states.values())


def gate_status(*lanes: tuple[str, int, int, int], at: datetime = START, folded_offset: int = 0) -> LookupStatus:
    """A running gate's status; each lane: upload, pending, in flight, in backoff."""
    described = tuple(
        LaneStatus(
            upload_id=upload_id,
            owner="jane",
            pending=pending,
            in_backoff=in_backoff,
            in_flight=in_flight,
            position=position,
            share=1.0,
            calls=0,
            retries=0,
            why="waiting_turn",
            oldest_wanted_at=None,
        )
        for position, (upload_id, pending, in_flight, in_backoff) in enumerate(lanes, 1)
    )
    return LookupStatus(
        instance="1",
        state="running",
        at=at,
        limit_calls=10,
        limit_window_seconds=1.0,
        pace_per_second=10.0,
        used_last_window=0,
        calls_last_minute=0,
        pending=sum(pending for _, pending, _, _ in lanes),
        in_flight=0,
        in_backoff=0,
        retries=0,
        dead_letters=0,
        oldest_wanted_at=None,
        folded_offset=folded_offset,
        lanes=described,
        next=(),
    )

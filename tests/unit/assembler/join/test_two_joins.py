"""Two joins on one database, as in production: each has partitions of its own, and judges rows of the other's too."""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, update

from schemas.settings import Settings
from schemas.upload_events import CancelUpload, Failures, RetryFailed
from services.assembler.join.transaction import transaction
from services.assembler.join.transaction.closing import close_uploads
from services.assembler.join.transaction.sweeping import judge_waiting_rows
from services.assembler.store.dialect import connect
from services.assembler.store.tables import uploads
from tests.fixtures.ids import upload_id
from tests.fixtures.postgres import DATABASES, fresh_schema
from tests.unit.assembler.join.join_log import PHONES, Log, Reader, partition_of
from tests.unit.assembler.join.test_joining import World

EVENTS, ROWS = 0, 1
"""The partition of the uploads' events, which is the first join's, and that of their phones, the second's."""
UPLOADS = [name for name in (upload_id(f"upload-{n}") for n in range(20)) if partition_of(name) == EVENTS]
U, OTHER = UPLOADS[:2]
P, Q = [phone for phone in PHONES if partition_of(phone) == ROWS][:2]


@dataclass
class Two:
    """Two joins of one log; `world` writes it, and reads nothing."""

    world: World
    first: Reader
    second: Reader

    def events(self) -> None:
        """The first join reads its partition."""
        self.first.read(EVENTS, dict.fromkeys(("upload_events",), 100))

    def rows(self) -> None:
        """The second join reads rows and results of its partition."""
        self.second.read(ROWS, dict.fromkeys(("upload_rows", "lookup_results"), 100))

    def states(self, upload: str) -> dict[int, str]:
        return {row: state for row, (state, _) in self.first.rows(upload).items()}


@contextmanager
def two_readers(url: str) -> Iterator[Two]:
    log = Log()
    first, second = Reader(log, connect(url)), Reader(log, connect(url))
    yield Two(World(first), first, second)
    first.engine.dispose()
    second.engine.dispose()


@pytest.fixture(params=DATABASES)
def two(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Two]:
    file = nullcontext(f"sqlite:///{tmp_path / 'two.sqlite'}")
    with fresh_schema() if request.param == "postgresql" else file as url, two_readers(url) as two:
        yield two


def test_a_cancellation_takes_back_what_the_other_join_has_stored(two: Two) -> None:
    world = two.world
    world.open(U)
    world.row(1, P, upload_id=U)
    two.rows()
    two.events()
    world.event(CancelUpload(upload_id=U, at=world.now, by="jane"))
    two.events()
    world.open(OTHER)
    two.events()
    cancelled_at = world.now
    world.now += timedelta(seconds=10)
    world.row(1, P, upload_id=OTHER)
    world.result(P, "ok")
    two.rows()
    assert two.states(OTHER) == {1: "answered"}
    world.event(CancelUpload(upload_id=OTHER, at=cancelled_at, by="jane"))
    two.events()
    assert two.states(OTHER) == {1: "waiting"}
    assert two.first.upload(OTHER).verdicts == {}


def test_failures_that_a_retry_leaves_out_stay_failed(two: Two) -> None:
    world = two.world
    world.row(1, P, upload_id=U)
    world.row(2, Q, upload_id=U)
    two.rows()
    world.open(U)
    two.events()
    world.result(P, "failed", (U, 0), error_code="http_500")
    world.result(Q, "failed", (U, 0), error_code="timeout")
    two.rows()
    assert two.states(U) == {1: "failed", 2: "failed"}
    world.event(RetryFailed(upload_id=U, at=world.now, by="jane", round=1, only=Failures(error_code="timeout")))
    two.events()
    assert two.states(U) == {1: "failed", 2: "waiting"}


def test_a_join_that_takes_partitions_over_remembers_nothing_of_before(two: Two) -> None:
    world = two.world
    world.row(1, P, upload_id=U)
    two.rows()
    two.first.restart()
    world.open(U)
    two.events()
    world.result(P, "ok")
    two.first.read(ROWS, {"lookup_results": 1})
    two.second.fences = two.second.joiner.take_over([EVENTS, ROWS])
    world.row(2, P, upload_id=U)
    two.rows()
    assert two.states(U) == {1: "answered", 2: "answered"}


def test_a_row_whose_answer_lies_in_sql_unseen_is_healed_by_the_sweep(two: Two) -> None:
    """A row on the wrong partition was joined while the other join stored its result."""
    world = two.world
    world.open(U)
    world.misplaced_row(1, P, upload_id=U, partition=EVENTS)
    two.first.read(EVENTS, {"upload_events": 1, "upload_rows": 1})
    world.result(P, "ok")
    two.rows()
    world.misplaced_row(2, P, upload_id=U, partition=EVENTS)
    world.fed(2, upload_id=U)
    two.first.read(EVENTS, {"upload_rows": 1})
    two.events()
    assert two.states(U) == {1: "answered", 2: "waiting"}
    upload = two.first.upload(U)
    with two.first.engine.begin() as connection:
        after_row, completed = judge_waiting_rows(connection, upload=upload, after_row=0, settings=Settings())
        assert (after_row, completed) == (2, True)
        assert judge_waiting_rows(connection, upload=upload, after_row=2, settings=Settings()) == (None, False)
    healed = two.first.upload(U)
    assert (two.states(U), healed.state) == ({1: "answered", 2: "answered"}, "completed")
    assert healed.verdicts == {"ok": 2}


@pytest.mark.parametrize("order", list(permutations((EVENTS, ROWS))))
def test_of_two_records_of_one_row_the_earlier_stands_whichever_is_read_first(two: Two, order: Sequence[int]) -> None:
    world = two.world
    world.open(U)
    two.events()
    elsewhere = next(phone for phone in PHONES if partition_of(phone) == EVENTS)
    world.row(1, P, upload_id=U)
    world.row(1, elsewhere, upload_id=U)
    for phone in (P, elsewhere):
        world.result(phone, "ok", (U, 0))
    world.fed(1, upload_id=U)
    readers = {EVENTS: two.first, ROWS: two.second}
    for partition in order:
        readers[partition].read(partition, {"upload_rows": 9, "lookup_results": 9})
    two.events()
    assert two.first.rows(U) == {1: ("answered", P)}
    upload = two.first.upload(U)
    assert (upload.answered, upload.verdicts, upload.state) == (1, {"ok": 1}, "completed")


@pytest.mark.postgres
@pytest.mark.parametrize("two", ["postgresql"], indirect=True)
def test_what_an_upload_wants_does_not_change_under_a_transaction(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other join's cancellation waits until rows that were judged without it are stored."""
    world = two.world
    world.open(U)
    two.events()
    world.row(1, P, upload_id=U)
    world.result(P, "ok")
    judged, go_on = threading.Event(), threading.Event()

    def close_slowly(*arguments: object) -> bool:
        if threading.current_thread().name.startswith("second"):
            judged.set()
            assert go_on.wait(30)
        return close_uploads(*arguments)  # type: ignore[arg-type]  # arguments are passed through

    monkeypatch.setattr(transaction, "close_uploads", close_slowly)
    cancelled_at = world.now - timedelta(seconds=10)
    world.event(CancelUpload(upload_id=U, at=cancelled_at, by="jane"))
    with ThreadPoolExecutor(1, "second") as second, ThreadPoolExecutor(1, "first") as first:
        rows = second.submit(two.rows)
        assert judged.wait(30)
        cancellation = first.submit(two.events)
        until_so(two, WAITS_FOR_ITS_TURN)
        assert not cancellation.done()
        go_on.set()
        rows.result(30)
        cancellation.result(30)
    assert two.states(U) == {1: "waiting"}
    assert two.first.upload(U).waiting == 1


@pytest.mark.postgres
@pytest.mark.parametrize("two", ["postgresql"], indirect=True)
def test_a_transaction_that_is_ended_for_a_deadlock_is_repeated(two: Two) -> None:
    world = two.world
    low, high = sorted((U, OTHER))
    for upload in (low, high):
        world.open(upload)
        world.row(1, P, upload_id=upload)
    two.events()
    let_look_for_deadlocks_after(two.second.engine, seconds=5)
    touch = update(uploads).values(version=uploads.c.version + 1)
    with two.first.engine.connect() as connection, ThreadPoolExecutor(1, "second") as second:
        connection.exec_driver_sql("SET deadlock_timeout = '60s'")
        connection.execute(touch.where(uploads.c.id == high))
        rows = second.submit(two.rows)
        until_so(two, WAITS_FOR_A_ROW)
        # The join has updated the one and waits for the other; it is the first to look, so it is the one to be ended.
        connection.execute(touch.where(uploads.c.id == low))
        connection.commit()
        rows.result(30)
    assert two.states(U) == two.states(OTHER) == {1: "waiting"}
    assert two.first.upload(U).waiting == two.first.upload(OTHER).waiting == 1


def let_look_for_deadlocks_after(engine: Engine, *, seconds: int) -> None:
    """Who looks first is the one whose transaction PostgreSQL ends. Holds for the engine's new connections."""

    @event.listens_for(engine, "connect")
    def _(connection: Any, _record: Any) -> None:
        connection.execute(f"SET deadlock_timeout = '{seconds}s'")
        connection.commit()

    engine.dispose()


WAITS_FOR_ITS_TURN = "wait_event = 'advisory'"
WAITS_FOR_A_ROW = "wait_event = 'transactionid'"


def until_so(two: Two, wait: str) -> None:
    """Waits until a session of PostgreSQL waits for this."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with two.second.engine.connect() as connection:
            if _count(connection, wait):
                return
    raise AssertionError(f"no session of PostgreSQL came to {wait}")


def _count(connection: Connection, event: str) -> int:
    query = f"SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND {event}"
    return int(connection.exec_driver_sql(query).scalar_one())

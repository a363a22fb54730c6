"""Two joins on one database, as in production: each has partitions of its own, and judges rows of the other's too."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest

from schemas.upload_events import CancelUpload, Failures, RetryFailed, UploadOpened
from services.assembler.store.dialect import connect
from tests.fixtures.ids import upload_id
from tests.fixtures.postgres import DATABASES, fresh_schema
from tests.unit.assembler.join_log import PHONES, Log, Reader, partition_of
from tests.unit.assembler.test_joining import World

EVENTS, ROWS = 0, 1
"""The partition of the uploads' events, which is the first join's, and that of their phones, the second's."""
UPLOADS = (
    [name for name in (upload_id(f"upload-{n}") for n in count()) if partition_of(name) == EVENTS]
    if False
    else [u for u in (upload_id(f"upload-{n}") for n in range(20)) if partition_of(u) == EVENTS]
)
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


_ = UploadOpened

"""What is deleted or expired leaves the database, in small pieces, and does not come back with late records."""

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from schemas.codec import encode
from schemas.rows import UploadRow
from schemas.upload_events import DeleteUpload, UploadFed, UploadOpened
from schemas.uploads import UploadOptions
from schemas.values import MAX_INT32
from services.assembler.store import retention
from services.assembler.store.dialect import connect, for_writing
from services.assembler.store.tables import outbox, rows, tallies
from tests.fixtures.ids import upload_id
from tests.fixtures.postgres import DATABASES, fresh_schema
from tests.unit.assembler.join.join_log import PHONES, START, Log, Reader, lookup_result

KEPT, GONE = upload_id("kept"), upload_id("gone")


@pytest.fixture
def reader() -> Reader:
    """Two uploads of seven answered rows each."""
    log = Log()
    log.append("lookup_results", PHONES[0], lookup_result(PHONES[0], "ok", at=START), at=START)
    for name, days in ((KEPT, 2), (GONE, 0)):
        at = START + timedelta(days=days)
        any_age = UploadOptions(max_age_seconds=10**8)
        opened = UploadOpened(upload_id=name, at=at, name="a", owner="jane", options=any_age)
        log.append("upload_events", name, opened, at=at)
        for number in range(1, 8):
            log.append("upload_rows", PHONES[0], encode(_row(name, number)), at=at)
        log.append("upload_events", name, UploadFed(upload_id=name, at=at, rows=7, rejected=0), at=at)
    reader = Reader(log)
    reader.read_all()
    return reader


def _row(upload_id: str, number: int) -> UploadRow:
    return UploadRow(
        upload_id=upload_id, row=number, phone=PHONES[0], owner="jane", wanted_at=START, accept_since=START
    )


def drop_all(reader: Reader) -> int:
    """Returns how many transactions it took."""
    transactions = 0
    while True:
        with for_writing(reader.engine).begin() as connection:
            transactions += 1
            if not retention.drop_rows(connection):
                return transactions


def left(reader: Reader) -> list[int]:
    counts = [select(func.count()).select_from(table) for table in (rows, tallies, outbox)]
    with reader.engine.connect() as connection:
        return [connection.execute(count).scalar_one() for count in counts]


def test_an_expired_upload_is_dropped_in_pieces_and_others_stay(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "CHUNK_ROWS", 3)
    with for_writing(reader.engine).begin() as connection:
        retention.expire_uploads(connection, before=START + timedelta(days=1))
    assert drop_all(reader) == 5, "three for the rows, one for all else, one that finds nothing"
    assert [upload.id for upload in reader.opened_uploads()] == [KEPT]
    assert len(reader.rows(KEPT)) == 7
    assert left(reader) == [7, 1, 2], "a completion event that is yet to be published stays"


def test_a_deleted_upload_does_not_come_back(reader: Reader) -> None:
    deleted = DeleteUpload(upload_id=GONE, at=START, by="jane")
    reader.log.append("upload_events", GONE, deleted, at=START)
    reader.read_all()
    drop_all(reader)
    reader.log.append("upload_rows", PHONES[0], encode(_row(GONE, 8)), at=START)
    reader.read_all()
    assert reader.rows(GONE) == {}
    assert [upload.id for upload in reader.opened_uploads()] == [KEPT]


def test_rows_of_an_upload_that_is_never_opened_are_dropped_when_they_are_old(reader: Reader) -> None:
    never = upload_id("never")
    reader.log.append("upload_rows", PHONES[0], encode(_row(never, 1)), at=START)
    reader.read_all()
    now = datetime.now(UTC)
    for before, left_over in ((now - timedelta(days=1), 1), (now + timedelta(days=1), 0)):
        with for_writing(reader.engine).begin() as connection:
            retention.expire_uploads(connection, before=before)
        drop_all(reader)
        assert len(reader.rows(never)) == left_over
    reader.log.append("upload_rows", PHONES[0], encode(_row(never, 2)), at=START)
    reader.read_all()
    assert reader.rows(never) == {}


@pytest.mark.parametrize("database", DATABASES)
def test_an_upload_with_the_largest_row_number_is_dropped_too(database: str) -> None:
    """Row numbers come from producers; one more than the largest is no integer that PostgreSQL compares with."""
    with fresh_schema() if database == "postgresql" else nullcontext("sqlite://") as url:
        log = Log()
        for number in (1, MAX_INT32):
            log.append("upload_rows", PHONES[0], encode(_row(GONE, number)), at=START)
        log.append("upload_events", GONE, DeleteUpload(upload_id=GONE, at=START), at=START)
        engine = connect(url)
        reader = Reader(log, engine)
        reader.read_all()
        drop_all(reader)
        assert left(reader)[0] == 0
        engine.dispose()

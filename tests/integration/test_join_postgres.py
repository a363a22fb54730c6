"""Several joins on one PostgreSQL: they share the partitions, and one that dies loses and doubles nothing."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from schemas import topics as registry
from schemas.codec import decode
from schemas.ids import completion_id
from schemas.interface import Upload
from schemas.rows import UploadRow
from schemas.upload_events import RetryFailed
from schemas.uploads import Counts
from tests.integration.join_stage import JoinProcess, on_stage, phone, running_join
from tests.support.waiting import eventually


@pytest.mark.postgres
async def test_two_joins_share_the_work_and_one_takes_over_when_the_other_is_killed(
    broker: str, topics: str, tmp_path: Path, postgres_url: str
) -> None:
    count, distinct = 4000, 200
    async with (
        on_stage(broker, topics, tmp_path, database=postgres_url) as stage,
        JoinProcess(stage.settings),
        JoinProcess(stage.settings) as victim,
    ):
        uploads = [await stage.open() for _ in range(3)]
        for part in range(4):
            for upload_id in uploads:
                await stage.rows(upload_id, {n: phone(n % distinct) for n in range(1, count + 1) if n % 4 == part})
            for number in range(part * 50, part * 50 + 50):
                await stage.result(phone(number), *((upload_id, 0) for upload_id in uploads))
            if part == 1:
                await eventually(lambda: _rows_are_stored(stage.upload(uploads[0])), what="some rows to be stored")
                await victim.kill()
            if part == 2:
                await victim.start()
        for upload_id in uploads:
            await stage.fed(upload_id, count)
        for upload_id in uploads:
            events = await stage.until_completed(upload_id)
            assert {dict(event.headers)["ce_id"] for event in events} == {completion_id(upload_id, 0).encode()}
            counts = decode(Upload, events[0].value).counts
            paid = distinct if upload_id == uploads[0] else 0
            assert counts == Counts(rows=count, answered=count, duplicates=count - distinct, calls=paid)


async def _rows_are_stored(upload: object) -> bool:
    return getattr(upload, "stored_rows", 0) > 0


@pytest.mark.postgres
async def test_two_joins_that_rebuild_ask_for_no_retried_row_again(
    broker: str, topics: str, tmp_path: Path, postgres_url: str
) -> None:
    """The one that is done reads in SQL what the other has only half joined."""
    count = 3000
    phones = {number: phone(number) for number in range(1, count + 1)}
    async with on_stage(broker, topics, tmp_path, database=postgres_url) as stage:
        upload_id = await stage.open()
        await stage.rows(upload_id, phones)
        await stage.fed(upload_id, count)
        await stage.results(phones.values(), (upload_id, 0), outcome="failed")
        await stage.event(RetryFailed(upload_id=upload_id, at=datetime.now(UTC), by="jane", round=1))
        await stage.rows(upload_id, phones, round_=1)
        await stage.results(phones.values(), (upload_id, 1))
        async with running_join(stage.settings), running_join(stage.settings):
            await stage.until_state(upload_id, "completed")
            await stage.until_completed(upload_id)
        rows = [decode(UploadRow, record.value) for record in await stage.read(registry.UPLOAD_ROWS)]
        assert [row.row for row in rows if row.again] == []

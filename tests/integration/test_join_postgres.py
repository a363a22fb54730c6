"""Several joins on one PostgreSQL: they share the partitions, and one that dies loses and doubles nothing."""

from pathlib import Path

import pytest

from schemas.codec import decode
from schemas.ids import completion_id
from schemas.interface import Upload
from schemas.uploads import Counts
from tests.integration.join_stage import JoinProcess, on_stage, phone, until


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
                await until(lambda: _rows_are_stored(stage.upload(uploads[0])), lambda: "some rows are stored")
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

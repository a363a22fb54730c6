"""The join on a real broker: from rows and results to completion events, through kills, rebuilds and refusals."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import update

from schemas import topics as registry
from schemas.codec import decode
from schemas.ids import completion_id
from schemas.interface import Upload
from schemas.rows import BadRecord, UploadRow
from schemas.upload_events import RetryFailed
from schemas.uploads import Counts, UploadProgress
from services.assembler.join import role as join
from services.assembler.store.dialect import connect
from services.assembler.store.tables import fences, meta
from services.runtime.process import RefusedToStart
from tests.integration.join_stage import JoinProcess, Stage, on_stage, phone, running_join
from tests.support.waiting import eventually


async def test_rows_of_another_system_reach_a_completion_event(broker: str, topics: str, tmp_path: Path) -> None:
    async with on_stage(broker, topics, tmp_path) as stage, running_join(stage.settings):
        upload_id = await stage.open(columns=("name", "phone"))
        await stage.rows(upload_id, {number: phone(number % 10) for number in range(1, 41)})
        await stage.rejected(upload_id, 41)
        await stage.fed(upload_id, 41)
        for number in range(10):
            await stage.result(phone(number), (upload_id, 0))
        (event,) = await stage.until_completed(upload_id)
        headers = dict(event.headers)
        assert headers["ce_specversion"] == b"1.0"
        assert headers["ce_id"] == completion_id(upload_id, 0).encode()
        assert headers["ce_type"] == b"phone-scrubber.upload.completed.v1"
        assert headers["content-type"] == b"application/json"
        upload = decode(Upload, event.value)
        assert upload.counts == Counts(rows=41, answered=40, rejected=1, duplicates=30, calls=10)
        assert (upload.outcome, upload.summary.verdict) == ("partial", {"ok": 40})

        async def said_so() -> bool:
            said = [decode(UploadProgress, record.value) for record in await stage.read(registry.UPLOAD_PROGRESS)]
            return bool(said) and (said[-1].state, said[-1].counts) == ("completed", upload.counts)

        await eventually(said_so, what="the last progress to say that the upload is completed")


async def test_what_cannot_be_decoded_is_kept_and_holds_nothing_up(broker: str, topics: str, tmp_path: Path) -> None:
    async with on_stage(broker, topics, tmp_path) as stage, running_join(stage.settings):
        upload_id = await stage.open()
        await stage.write(registry.UPLOAD_ROWS, phone(1), b"\xff\x00")
        await stage.rows(upload_id, {1: phone(1)})
        await stage.fed(upload_id, 1)
        await stage.result(phone(1), (upload_id, 0))
        await stage.until_completed(upload_id)
        (bad,) = [decode(BadRecord, record.value) for record in await stage.read(registry.BAD_RECORDS)]
        assert (bad.topic, bad.value) == (stage.settings.topic_prefix + "upload-rows", b"\xff\x00")


async def test_killed_again_and_again_it_loses_and_doubles_nothing(broker: str, topics: str, tmp_path: Path) -> None:
    count, distinct = 6000, 300
    phones = {number: phone(number % distinct) for number in range(1, count + 1)}
    async with on_stage(broker, topics, tmp_path) as stage, JoinProcess(stage.settings) as process:
        upload_id = await stage.open()
        for part in range(6):
            await stage.rows(upload_id, {n: of_row for n, of_row in phones.items() if n % 6 == part})
            for number in range(part * 50, part * 50 + 50):
                await stage.result(phone(number), (upload_id, 0))
            await process.kill()
            await process.start()
        await stage.fed(upload_id, count)
        events = await stage.until_completed(upload_id)
        assert {dict(event.headers)["ce_id"] for event in events} == {completion_id(upload_id, 0).encode()}
        upload = decode(Upload, events[0].value)
        assert upload.counts == Counts(rows=count, answered=count, duplicates=count - distinct, calls=distinct)
        stored = stage.stored_rows(upload_id)
        assert {number: (state, of_row) for number, (state, of_row, _) in stored.items()} == {
            number: ("answered", of_row) for number, of_row in phones.items()
        }


async def test_a_deleted_database_is_rebuilt_the_same_without_a_second_completion_event(
    broker: str, topics: str, tmp_path: Path
) -> None:
    async with on_stage(broker, topics, tmp_path) as stage:
        upload_id = await stage.open()
        await stage.rows(upload_id, {number: phone(number % 7) for number in range(1, 200)})
        await stage.rejected(upload_id, 200)
        await stage.fed(upload_id, 200)
        async with running_join(stage.settings):
            for number in range(6):
                await stage.result(phone(number), (upload_id, 0))
            await stage.result(phone(6), (upload_id, 0), outcome="failed")
            await stage.until_completed(upload_id)
        before, rows_before = stage.upload(upload_id), stage.stored_rows(upload_id)
        stage.drop_database()
        # The upload after it shows that the rebuilt join went all the way, and publishes again.
        async with running_join(stage.settings):
            after = await stage.until_state(upload_id, "completed")
            await _completed_upload(stage)
        assert before is not None
        assert (after.counts, after.finished_at) == (before.counts, before.finished_at)
        assert after.verdicts == before.verdicts
        assert stage.stored_rows(upload_id) == rows_before
        assert len(await stage.completions(upload_id)) == 1


async def test_failed_rows_are_published_again_for_the_next_round(broker: str, topics: str, tmp_path: Path) -> None:
    async with on_stage(broker, topics, tmp_path) as stage, running_join(stage.settings):
        upload_id = await stage.open()
        await stage.rows(upload_id, {1: phone(1), 2: phone(2), 3: phone(1)})
        await stage.fed(upload_id, 3)
        await stage.result(phone(1), (upload_id, 0), outcome="failed")
        await stage.result(phone(2), (upload_id, 0))
        record = await stage.until_state(upload_id, "completed")
        await stage.event(RetryFailed(upload_id=upload_id, at=record.last_settled_at, by="jane", round=1))

        async def asked_again() -> bool:
            rows = [decode(UploadRow, record.value) for record in await stage.read(registry.UPLOAD_ROWS)]
            return sorted(row.row for row in rows if row.round == 1 and row.again) == [1, 3]

        await eventually(asked_again, what="both failed rows to be published for round 1")
        await stage.result(phone(1), (upload_id, 1))
        first, second = await stage.until_completed(upload_id, 2)
        assert dict(first.headers)["ce_id"] != dict(second.headers)["ce_id"]
        assert decode(Upload, second.value).outcome == "success"


async def test_a_second_join_on_the_same_sqlite_file_is_refused(broker: str, topics: str, tmp_path: Path) -> None:
    async with on_stage(broker, topics, tmp_path) as stage, running_join(stage.settings):
        await _completed_upload(stage)
        with pytest.raises(RefusedToStart, match=r"Another join \(process \d+\) writes to"):
            await join.main(stage.settings, asyncio.Event())


async def _completed_upload(stage: Stage) -> str:
    upload_id = await stage.open()
    await stage.fed(upload_id, 0)
    await stage.until_completed(upload_id)
    return upload_id


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (update(meta).where(meta.c.name == "cluster_id").values(value="other"), "reflects the Kafka cluster other"),
        (update(fences).values(upload_rows=10**6), "of upload-rows ends at .*, before 1000000"),
        (update(meta).where(meta.c.name == "schema_version").values(value="0"), "has version 0 of the tables"),
    ],
)
async def test_a_database_that_does_not_fit_the_cluster_is_refused(
    broker: str, topics: str, tmp_path: Path, damage: object, sentence: str
) -> None:
    async with on_stage(broker, topics, tmp_path) as stage:
        async with running_join(stage.settings):
            await _completed_upload(stage)
        engine = connect(stage.settings.database_url)
        with engine.begin() as connection:
            connection.execute(damage)  # type: ignore[call-overload]  # statements of several kinds
        engine.dispose()
        with pytest.raises(RefusedToStart, match=sentence):
            await join.main(stage.settings, asyncio.Event())


async def test_without_topics_it_says_how_to_make_them(broker: str, tmp_path: Path) -> None:
    async with on_stage(broker, "no-such-", tmp_path) as stage:
        with pytest.raises(RefusedToStart, match=r"no topic no-such-upload-rows, .*deploy\.topics"):
            await join.main(stage.settings, asyncio.Event())


@pytest.mark.parametrize(
    "database", ["sqlite:////dev/null/scrub.sqlite", "nosuch://host/name", "no url", "postgresql://u@127.0.0.1:1/d"]
)
async def test_a_database_that_cannot_be_opened_is_named_in_a_sentence(
    broker: str, tmp_path: Path, database: str
) -> None:
    async with on_stage(broker, "", tmp_path, database=database) as stage:
        with pytest.raises(RefusedToStart, match=r"The database cannot be opened \(.+\): check SCRUB_DATABASE"):
            await join.main(stage.settings, asyncio.Event())

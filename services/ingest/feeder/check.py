"""Finds out what a stored file is and tells it: fetched, read in a child process, asked about, announced."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from schemas import topics
from schemas.codec import decode, encode
from schemas.settings import Settings
from schemas.upload_events import UploadChecked, UploadRefused
from schemas.uploads import Detected, PlanQuestion, UploadOptions
from services.ingest.chunks import CHUNK_BYTES
from services.ingest.feeder.feeding import Outlet
from services.ingest.feeder.preparation.distinct_phones import read_batches
from services.ingest.feeder.preparation.outcome import Prepared, Refusal
from services.ingest.feeder.preparation.read_file import EXIT_NO_ROOM, Task, outcome_path, phones_path, run
from services.ingest.feeder.preparation.reader_process import run_in_child
from services.ingest.feeder.spool import FileGone, FileTooLarge, NoRoom, Spool
from services.ingest.feeder.upload_state import Case
from services.ingest.reading.model import ReadOptions
from services.runtime.kafka import topic_name

SMALL_FILE_BYTES = 2_000_000
MOST_EXPANSION = 20
"""Text of all cells, as JSON, over the file's bytes. The widest of honest files is a workbook: Excel packs a table to
about a fifth, and a text that many cells share is stored once."""
PHONES_PER_QUESTION = 2_000
_QUESTIONS_AT_ONCE = 50
_FILE_EXPIRED = Refusal(
    code="file-expired",
    title="The file is no longer stored",
    detail="The file's records have expired or are incomplete. Upload the file again.",
)
_FILE_TOO_LARGE = Refusal(
    code="file-too-large",
    title="The file is too large",
    detail="The file has more bytes than this service accepts. Split it and upload the parts.",
)
_READER_DIED = Refusal(
    code="reading-failed",
    title="The file could not be read",
    detail="The process that read the file was ended by the system (exit code {}). Split the file and try its parts.",
)
_TOOK_TOO_LONG = Refusal(
    code="reading-failed",
    title="The file could not be read",
    detail="Reading the file took far longer than a file of its size should. Save it anew as CSV and upload that.",
)
_NICENESS = 5
"""Reading a large file gives way to feeding, looking up and joining; a small one is through before anybody notices."""
_LEAST_PATIENCE_SECONDS = 600.0
_BYTES_A_SECOND = 100_000
"""A tenth of what the slowest files need on a busy machine; reading beyond that is taken for hanging."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A finished reading and the folder that holds its rows."""

    folder: Path
    prepared: Prepared


async def read_file(case: Case, spool: Spool, *, settings: Settings, detected: Detected | None) -> Reading:
    """Fetches the upload's file and reads it from end to end. `detected`: what it was found to be before.

    A reading that is complete in the spool is used again.

    Raises:
        KafkaError: Kafka does not answer.
        TimeoutError: Kafka answers, but the file could not be fetched in time.
        NoRoom: the spool's disk is full.
        UndecodableRecord: what was found out is more than a record can hold.
    """
    folder = spool.folder_of(case.upload_id, case.check_id)
    if outcome_path(folder).exists():
        return Reading(folder, decode(Prepared, outcome_path(folder).read_bytes()))
    raw = folder / "file"
    assert case.opened.file is not None
    try:
        async with asyncio.timeout(patience_seconds(case, settings)):
            await spool.fetch(case.opened.file, raw)
    except FileGone:
        return Reading(folder, Prepared(refusal=_FILE_EXPIRED))
    except FileTooLarge:
        return Reading(folder, Prepared(refusal=_FILE_TOO_LARGE))
    task = Task(
        path=str(raw),
        folder=str(folder),
        options=_read_options(case.options, settings),
        max_rows=settings.max_rows,
        max_text_bytes=most_text_bytes(raw.stat().st_size, settings),
        detected=None if detected is None else detected.model_dump(),
    )
    try:
        async with asyncio.timeout(patience_seconds(case, settings)):
            exit_code = await run_in_child(run, task.as_json(), niceness=0 if is_small(case) else _NICENESS)
    except TimeoutError:
        return Reading(folder, Prepared(refusal=_TOOK_TOO_LONG))
    raw.unlink(missing_ok=True)
    if exit_code == EXIT_NO_ROOM:
        raise NoRoom
    if exit_code != 0:
        died = _READER_DIED.model_copy(update={"detail": _READER_DIED.detail.format(exit_code)})
        return Reading(folder, Prepared(refusal=died))
    return Reading(folder, decode(Prepared, outcome_path(folder).read_bytes()))


def _read_options(options: UploadOptions, settings: Settings) -> ReadOptions:
    return ReadOptions(
        phone_columns=options.phone_columns,
        area_column=options.area_column,
        region=options.region or settings.region,
        sheet=options.sheet,
        header=options.header,
        encoding=options.encoding,
        delimiter=options.delimiter,
    )


def is_small(case: Case) -> bool:
    """Whether the file is read in no time, so that it should not wait for larger ones.

    The event's `bytes` may say anything; more chunks than that the file cannot have.
    """
    file = case.opened.file
    chunks = 0 if file is None else file.chunks
    return (case.opened.bytes or 0) <= SMALL_FILE_BYTES and chunks <= SMALL_FILE_BYTES // CHUNK_BYTES + 1


def patience_seconds(case: Case, settings: Settings) -> float:
    """How long fetching an upload's file may take, and how long reading it."""
    return _LEAST_PATIENCE_SECONDS + min(case.opened.bytes or 0, settings.max_file_bytes) / _BYTES_A_SECOND


def most_text_bytes(file_bytes: int, settings: Settings) -> int:
    """Most bytes of text that the cells of a file may have together."""
    return max(settings.max_expanded_bytes, MOST_EXPANSION * file_bytes)


async def ask_for_known(case: Case, folder: Path, *, outlet: Outlet) -> None:
    """Sends the file's distinct phones as plan questions; the join adds up how many are known."""
    topic = topic_name(topics.PLAN_QUESTIONS, outlet.settings)
    accept_since = case.accept_since(default_max_age_seconds=outlet.settings.max_age_seconds)
    batches = read_batches(phones_path(folder), batch_phones=PHONES_PER_QUESTION)
    phones = next(batches, ())
    number = 0
    last = False
    while not last:
        questions: list[bytes] = []
        while not last and len(questions) < _QUESTIONS_AT_ONCE:
            following = next(batches, None)
            last = following is None
            question = PlanQuestion(
                upload_id=case.upload_id,
                check_id=case.check_id,
                batch=number,
                last=last,
                accept_since=accept_since,
                phones=phones,
            )
            questions.append(encode(question))
            phones, number = following or (), number + 1
        await outlet.sender.send_all(topic, questions, key=case.upload_id.encode())


def refused_event(case: Case, refusal: Refusal, *, now: datetime) -> UploadRefused:
    return UploadRefused(
        upload_id=case.upload_id, at=now, code=refusal.code, title=refusal.title, detail=refusal.detail
    )


def checked_event(case: Case, prepared: Prepared, *, now: datetime) -> UploadChecked:
    assert prepared.detected is not None
    assert prepared.counts is not None
    return UploadChecked(
        upload_id=case.upload_id,
        at=now,
        check_id=case.check_id,
        detected=prepared.detected,
        counts=prepared.counts,
        preview=prepared.preview,
        options=case.options,
    )

"""Checks a stored file: fetches it, reads it in a child process, and builds the questions and events that follow."""

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
from services.ingest.feeder.preparation.outcome import ReaderOutcome, Refusal
from services.ingest.feeder.preparation.read_file import EXIT_DISK_FULL, ReadTask, outcome_path, phones_path, run
from services.ingest.feeder.preparation.reader_process import run_in_child
from services.ingest.feeder.spool import DiskFull, FileGone, FileTooLarge, Spool
from services.ingest.feeder.upload_state import FeederUpload
from services.ingest.reading.model import ReadOptions
from services.runtime.kafka import topic_name

SMALL_FILE_BYTES = 2_000_000
MOST_EXPANSION = 20
"""Most bytes of text of all cells, as JSON, for each byte of the file. Workbooks expand most: Excel compresses a table
to about a fifth, and stores a text once that many cells share."""
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
"""Reading a large file yields the processor to feeding, lookups and joining. A small file is read quickly."""
_LEAST_TIMEOUT_SECONDS = 600.0
_BYTES_A_SECOND = 100_000
"""A tenth of the speed of the slowest files on a busy machine. A slower reader is considered stuck."""


@dataclass(frozen=True, slots=True)
class PreparedFile:
    """A file that was read, and the folder that holds its prepared rows."""

    folder: Path
    outcome: ReaderOutcome


async def read_file(
    upload: FeederUpload, spool: Spool, *, settings: Settings, detected: Detected | None
) -> PreparedFile:
    """Fetch the upload's file and read it from end to end. `detected`: the layout found by an earlier reading.

    The result is used again if the spool holds it.

    1. The file is fetched from Kafka into the spool.
    2. A child process reads it and leaves its outcome and its rows in the folder.
    3. The file is deleted; the outcome is checked and returned.

    Raises:
        KafkaError: Kafka does not answer.
        TimeoutError: the file could not be fetched in time, although Kafka answers.
        NoRoom: the spool's disk is full.
        UndecodableRecord: the outcome does not have the shape of `ReaderOutcome`, or exceeds its bounds.
    """
    folder = spool.folder_of(upload.upload_id, upload.check_id)
    if outcome_path(folder).exists():
        return PreparedFile(folder, decode(ReaderOutcome, outcome_path(folder).read_bytes()))
    raw = folder / "file"
    assert upload.opened.file is not None
    # 1. Fetch.
    try:
        async with asyncio.timeout(timeout_seconds(upload, settings)):
            await spool.fetch(upload.opened.file, raw)
    except FileGone:
        return PreparedFile(folder, ReaderOutcome(refusal=_FILE_EXPIRED))
    except FileTooLarge:
        return PreparedFile(folder, ReaderOutcome(refusal=_FILE_TOO_LARGE))
    # 2. Read.
    task = ReadTask(
        path=str(raw),
        folder=str(folder),
        options=read_options_of(upload.options, settings),
        max_rows=settings.max_rows,
        max_text_bytes=most_text_bytes(raw.stat().st_size, settings),
        detected=None if detected is None else detected.model_dump(),
    )
    try:
        async with asyncio.timeout(timeout_seconds(upload, settings)):
            exit_code = await run_in_child(run, task.as_json(), niceness=0 if is_small(upload) else _NICENESS)
    except TimeoutError:
        return PreparedFile(folder, ReaderOutcome(refusal=_TOOK_TOO_LONG))
    # 3. Return the outcome.
    raw.unlink(missing_ok=True)
    if exit_code == EXIT_DISK_FULL:
        raise DiskFull
    if exit_code != 0:
        died = _READER_DIED.model_copy(update={"detail": _READER_DIED.detail.format(exit_code)})
        return PreparedFile(folder, ReaderOutcome(refusal=died))
    return PreparedFile(folder, decode(ReaderOutcome, outcome_path(folder).read_bytes()))


def read_options_of(options: UploadOptions, settings: Settings) -> ReadOptions:
    """The options of a person that concern reading, as the reader takes them. The other options concern the lookups."""
    return ReadOptions(
        phone_columns=options.phone_columns,
        area_column=options.area_column,
        region=options.region or settings.region,
        sheet=options.sheet,
        header=options.header,
        encoding=options.encoding,
        delimiter=options.delimiter,
    )


def is_small(upload: FeederUpload) -> bool:
    """Whether the file is read so quickly that it should not wait for large ones.

    The event's `bytes` are not trusted, so the number of chunks counts too.
    """
    file = upload.opened.file
    chunks = 0 if file is None else file.chunks
    return (upload.opened.bytes or 0) <= SMALL_FILE_BYTES and chunks <= SMALL_FILE_BYTES // CHUNK_BYTES + 1


def timeout_seconds(upload: FeederUpload, settings: Settings) -> float:
    """How long fetching an upload's file may take, and again how long reading it may take."""
    return _LEAST_TIMEOUT_SECONDS + min(upload.opened.bytes or 0, settings.max_file_bytes) / _BYTES_A_SECOND


def most_text_bytes(file_bytes: int, settings: Settings) -> int:
    """Most bytes of text that all cells of a file together may have."""
    return max(settings.max_expanded_bytes, MOST_EXPANSION * file_bytes)


async def send_plan_questions(upload: FeederUpload, folder: Path, *, outlet: Outlet) -> None:
    """Send the file's distinct phones as plan questions. The join counts the known ones."""
    topic = topic_name(topics.PLAN_QUESTIONS, outlet.settings)
    accept_since = upload.accept_since(default_max_age_seconds=outlet.settings.max_age_seconds)
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
                upload_id=upload.upload_id,
                check_id=upload.check_id,
                batch=number,
                last=last,
                accept_since=accept_since,
                phones=phones,
            )
            questions.append(encode(question))
            phones, number = following or (), number + 1
        await outlet.sender.send_all(topic, questions, key=upload.upload_id.encode())


def refused_event(upload: FeederUpload, refusal: Refusal, *, now: datetime) -> UploadRefused:
    return UploadRefused(
        upload_id=upload.upload_id, at=now, code=refusal.code, title=refusal.title, detail=refusal.detail
    )


def checked_event(upload: FeederUpload, outcome: ReaderOutcome, *, now: datetime) -> UploadChecked:
    assert outcome.detected is not None
    assert outcome.counts is not None
    return UploadChecked(
        upload_id=upload.upload_id,
        at=now,
        check_id=upload.check_id,
        detected=outcome.detected,
        counts=outcome.counts,
        preview=outcome.preview,
        options=upload.options,
    )

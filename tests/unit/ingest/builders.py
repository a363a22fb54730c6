"""Events of made-up uploads, for tests of the feeder's decisions."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from schemas.upload_events import UploadChecked, UploadOpened
from schemas.uploads import (
    Counts,
    Detected,
    FileCounts,
    FileLocation,
    UploadOptions,
    UploadProgress,
)
from tests.fixtures.ids import upload_id as upload_id_of

U = upload_id_of("u")
START = datetime(2026, 1, 1, tzinfo=UTC)
LOCATION = FileLocation(partition=0, first_offset=0, last_offset=0, chunks=1, attempt="a")


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def opened(
    upload_id: str = U, *, seconds: float = 0, file: FileLocation | None = LOCATION, **options: object
) -> UploadOpened:
    return UploadOpened(
        upload_id=upload_id,
        at=at(seconds),
        name="list.csv",
        owner="o",
        options=UploadOptions.model_validate(options),
        file=file,
    )


def checked(check_id: str, upload_id: str = U, *, rows: int = 10, distinct: int = 5) -> UploadChecked:
    return UploadChecked(
        upload_id=upload_id,
        at=START,
        check_id=check_id,
        detected=Detected(format="csv", phone_columns=(0,)),
        counts=FileCounts(rows=rows, with_phone=rows, usable=rows, split=0, distinct=distinct),
        options=UploadOptions(),
    )


def progress(upload_id: str = U, *, known: int | None = None, **counts: int) -> UploadProgress:
    return UploadProgress(
        upload_id=upload_id,
        epoch="e",
        seq=1,
        at=START,
        state="in_progress",
        round=0,
        counts=Counts.model_validate(counts),
        known=known,
    )


@dataclass(frozen=True, slots=True)
class Record:
    """A record as a consumer gives it, written a minute after `START`."""

    value: bytes | None
    key: bytes | None = U.encode()
    topic: str = "upload-events"
    partition: int = 0
    offset: int = 0
    timestamp: int = int(at(60).timestamp() * 1000)

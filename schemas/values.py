"""Owns the definition of each value that crosses a boundary: ids, phones, counts, times, texts, each with its bounds.

Every message is built of these types, so a value that one part takes, every part takes. All bounds hold in SQLite, in
PostgreSQL and in JSON: integers fit the databases' columns, texts hold no NUL, times are within four-digit years.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Final

from pydantic import AfterValidator, AwareDatetime, Field, ValidationInfo
from pydantic_core import PydanticCustomError

MAX_INT32: Final = 2**31 - 1
MAX_INT64: Final = 2**63 - 1
MOST_COLUMNS: Final = 16_384
"""As many as a sheet of Excel has."""
EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)
AHEAD: Final = timedelta(days=1)
"""How far a time may be ahead of the Kafka timestamp of its record: more than any clock is wrong by accident."""
_LATEST_TIMESTAMP_MS: Final = (LATEST - AHEAD - EARLIEST) // timedelta(milliseconds=1)
LATEST_IN_RECORD: Final = "latest"
"""The validation context's key for the latest time that a record may name."""
TIME_AHEAD: Final = "time_ahead"

_NO_NUL: Final = r"^[^\x00]*$"

UPLOAD_ID_PATTERN: Final = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
UploadId = Annotated[str, Field(pattern=UPLOAD_ID_PATTERN, description="A UUID")]
"""A UUID in its canonical form: lower case, with hyphens."""

PHONE_PATTERN: Final = r"^\+[1-9][0-9]{3,14}$"
Phone = Annotated[str, Field(pattern=PHONE_PATTERN, description="A phone in E.164: at most 15 digits")]
"""E.164 (ITU-T E.164, section 6.1: at most 15 digits), with its plus."""

Token = Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z_.:-]{0,99}$")]
"""A name that one of our parts made up: of a check, a sweep, an attempt, a process, a provider, an error code."""

Count = Annotated[int, Field(ge=0, le=MAX_INT32)]
RowNumber = Annotated[int, Field(ge=1, le=MAX_INT32)]
"""Data rows count from 1."""
LineNumber = Annotated[int, Field(ge=0, le=MAX_INT32)]
Round = Annotated[int, Field(ge=0, le=MAX_INT32)]
Priority = Annotated[int, Field(ge=1, le=5)]
ByteCount = Annotated[int, Field(ge=0, le=MAX_INT64)]
Offset = Annotated[int, Field(ge=0, le=MAX_INT64)]
Version = Annotated[int, Field(ge=0, le=MAX_INT64)]
PartitionNumber = Annotated[int, Field(ge=0, le=MAX_INT32)]
ColumnIndex = Annotated[int, Field(ge=0, lt=MOST_COLUMNS)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Quantity = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
"""Seconds, a price, calls a second."""

LONGEST_MAX_AGE_SECONDS: Final = 10 * 366 * 86_400
MaxAge = Annotated[int, Field(ge=0, le=LONGEST_MAX_AGE_SECONDS, description="Seconds, at most ten years")]

Name = Annotated[str, Field(max_length=200, pattern=_NO_NUL)]
Owner = Annotated[str, Field(min_length=1, max_length=200, pattern=_NO_NUL)]
Word = Annotated[str, Field(max_length=200, pattern=_NO_NUL)]
"""A short text for people or programs: a carrier, a codec, a sheet, a title."""
Sentence = Annotated[str, Field(max_length=2_000, pattern=_NO_NUL)]
"""What went wrong and what to do."""
HeaderText = Annotated[str, Field(max_length=1_000)]
"""A column's header, as it stands in the file."""
SampleText = Annotated[str, Field(max_length=1_000)]
"""A cell, or its beginning, as it stands in the file."""
Cells = Annotated[tuple[str, ...], Field(max_length=MOST_COLUMNS)]
"""A row's texts as they stand in the file. The size of the whole record bounds each."""
ColumnRef = Annotated[str, Field(min_length=1, max_length=500, pattern=_NO_NUL)] | ColumnIndex
"""A column, by its header or by its 0-based index."""


BoundedTime = Annotated[AwareDatetime, Field(ge=EARLIEST, le=LATEST)]
"""A point in time from 1970 to 2200, with the offset that it was written with. Its bounds cost no Python call."""


def _to_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


def _come(moment: datetime, info: ValidationInfo) -> datetime:
    if info.context is not None and moment > info.context[LATEST_IN_RECORD]:
        raise PydanticCustomError(TIME_AHEAD, "The time is more than a day after the record was written")
    return moment.astimezone(UTC)


AnyMoment = Annotated[BoundedTime, AfterValidator(_to_utc)]
"""A point in time from 1970 to 2200. JSON: RFC 3339 in UTC with `Z`."""
Moment = Annotated[BoundedTime, AfterValidator(_come)]
"""A point in time that has come. In a record of Kafka: at most a day after the record's own timestamp."""


@lru_cache(maxsize=1024)
def latest_in_record(timestamp_ms: int) -> datetime:
    """The latest time that a record with this Kafka timestamp (milliseconds since 1970) may name.

    A record without a timestamp (-1), or with one that is out of range, is bounded by the range alone.
    """
    if not 0 <= timestamp_ms <= _LATEST_TIMESTAMP_MS:
        return LATEST
    return EARLIEST + timedelta(milliseconds=timestamp_ms) + AHEAD

"""Decides what follows when reading or feeding an upload failed: a retry later, or a refusal with a reason.

An outage of Kafka never ends an upload, however long it lasts. Any other failure belongs to the upload: it is retried a
bounded number of times if a retry can help.
"""

from dataclasses import dataclass
from typing import Final

from aiokafka.errors import KafkaError

from schemas.codec import MAX_VALUE_BYTES
from services.ingest.feeder.preparation.outcome import Refusal
from services.ingest.feeder.spool import DiskFull
from services.ingest.sending import RecordTooLarge

LONGEST_PAUSE_SECONDS: Final = 60.0
DISK_FULL_PAUSE_SECONDS: Final = 15.0
MOST_TRIES_WITH_FULL_DISK: Final = 20
"""Five minutes: by then other uploads may have been fed and their files deleted."""
MOST_TRIES_TO_FETCH: Final = 5
DISK_FULL: Final = "the disk of SCRUB_DATA is full"

_FILLS_THE_DISK: Final = Refusal(
    code="no-room",
    title="There is no room for the file",
    detail="Once read, this file takes more room than the disk of the service has. Split it and upload the parts.",
)
_NOT_FETCHED: Final = Refusal(
    code="reading-failed",
    title="The file could not be read",
    detail="The message log holds the file, but did not give it out when asked several times. Upload it again.",
)
TOO_LARGE: Final = Refusal(
    code="record-too-large",
    title="A row is larger than the message log accepts",
    detail="A row of the file, or its header, makes a record larger than this installation's Kafka accepts. Upload "
    "only the columns that you need, or ask the operator to let the topics accept messages of "
    f"{MAX_VALUE_BYTES:,} bytes.",
)


@dataclass(frozen=True, slots=True)
class TryLater:
    """Retry after some seconds. `error` is for operators and quotes nothing of the file."""

    seconds: float
    error: str


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of the upload in the spool when it failed, and bytes of all other uploads together."""

    own: int
    others: int


def decide(error: Exception, *, times: int, sizes: Sizes) -> TryLater | Refusal:
    """Decide what follows from an error that occurred `times` times, this time included."""
    if isinstance(error, KafkaError):
        return TryLater(_pause_seconds(times), f"Kafka does not answer as it should: {type(error).__name__}")
    if isinstance(error, DiskFull):
        fills_it = times >= MOST_TRIES_WITH_FULL_DISK and sizes.own > sizes.others
        return _FILLS_THE_DISK if fills_it else TryLater(DISK_FULL_PAUSE_SECONDS, DISK_FULL)
    if isinstance(error, TimeoutError):
        if times >= MOST_TRIES_TO_FETCH:
            return _NOT_FETCHED
        return TryLater(_pause_seconds(times), "Kafka gave nothing of a stored file for a minute")
    return refusal_for(error)


def refusal_for(error: Exception) -> Refusal:
    """The refusal for an error that no retry can fix. It names only the error's type: the text may hold cells."""
    if isinstance(error, RecordTooLarge):
        return TOO_LARGE
    return Refusal(
        code="reading-failed",
        title="The file could not be read",
        detail=f"Reading the file failed in a way that was not foreseen ({type(error).__name__}). "
        "Please report it with the file.",
    )


def _pause_seconds(times: int) -> float:
    return min(LONGEST_PAUSE_SECONDS, float(2 ** min(times, 10)))

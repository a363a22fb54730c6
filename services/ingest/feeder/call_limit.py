"""Decides whether the calls of an upload can be made before its data expires."""

from schemas.settings import Settings
from schemas.uploads import FileCounts
from services.ingest.feeder.preparation.outcome import Refusal
from services.ingest.feeder.upload_state import FeederUpload, JoinCounts

_SPARE_DAYS = 5
_SECONDS_A_DAY = 86_400


def most_calls(settings: Settings) -> int:
    """Most calls that the whole service can make in `SCRUB_KEEP_DAYS` minus five days."""
    seconds = (settings.keep_days - _SPARE_DAYS) * _SECONDS_A_DAY
    return int(seconds * settings.rate / settings.window_seconds)


def calls_needed(upload: FeederUpload, counts: FileCounts, join_counts: JoinCounts) -> int | None:
    """Most calls that the upload can cost. None while its known phones are not yet counted."""
    if join_counts.known is None:
        return None
    bounds = [counts.distinct - join_counts.known, upload.max_calls, upload.sample_rows]
    return min(bound for bound in bounds if bound is not None)


def exceeds_call_limit(
    upload: FeederUpload, counts: FileCounts, join_counts: JoinCounts, *, settings: Settings
) -> bool | None:
    """Whether the upload must be refused. None: the count of known phones will decide."""
    most = most_calls(settings)
    if upload.cancelled or counts.distinct <= most:
        return False
    needed = calls_needed(upload, counts, join_counts)
    return None if needed is None else needed > most


def too_many_calls(settings: Settings) -> Refusal:
    """The refusal of an upload that needs too many calls."""
    return Refusal(
        code="too-many-calls",
        title="The calls would take too long",
        detail=f"At most {most_calls(settings):,} calls can be made before the data expires after {settings.keep_days} "
        "days. Split the file, or start with a cap on calls.",
    )

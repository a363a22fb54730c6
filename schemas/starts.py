"""Decides how old an answer an upload takes: one rule for the feeder, the join and the rows that they write."""

from datetime import datetime, timedelta

from schemas.values import EARLIEST, LONGEST_MAX_AGE_SECONDS


def accept_since_of(started_at: datetime, *, chosen_seconds: int | None, default_seconds: int) -> datetime:
    """From when on an answer is young enough for an upload that was started then; never before 1970.

    `chosen_seconds`: the upload's own `max_age_seconds`; None: `default_seconds`, the setting, stands for it. Either
    may be larger than a message allows: an older version stored it so.
    """
    age_seconds = default_seconds if chosen_seconds is None else chosen_seconds
    return max(EARLIEST, started_at - timedelta(seconds=min(age_seconds, LONGEST_MAX_AGE_SECONDS)))

"""Decides how many more rows of an upload may be published now, and why its remaining rows are left out."""

from services.ingest.feeder.upload_state import FeederUpload, JoinCounts
from services.ingest.feeder.window import TURN_ROWS, transit_rows, window_rows

_CANCELLED = "The upload was cancelled before this row's turn."
_BEYOND_SAMPLE = "The upload was started for its first {} rows only."
_BEYOND_CAP = "The upload was started with at most {} calls, and they are used up."


def allowed_rows(upload: FeederUpload, join_counts: JoinCounts, *, fed_rows: int, active: int, share: float) -> int:
    """How many rows may be published now, after `fed_rows`.

    Two limits apply: rows without an outcome, and rows that the join has not yet stored. All other rows queue behind
    the latter. Rows that are left out cost nothing downstream, so no limit applies to them.
    """
    if left_out_reason(upload, join_counts, fed_rows=fed_rows) is not None:
        return TURN_ROWS
    calls_left = None if upload.max_calls is None else upload.max_calls - join_counts.calls
    bounds = [
        window_rows(active=active, share=share, calls_left=calls_left) - (fed_rows - join_counts.rows),
        transit_rows(active=active, share=share) - (fed_rows - join_counts.stored),
    ]
    if upload.sample_rows is not None:
        bounds.append(upload.sample_rows - fed_rows)
    return max(0, min(bounds))


def left_out_reason(upload: FeederUpload, join_counts: JoinCounts, *, fed_rows: int) -> str | None:
    """Why the rows after `fed_rows` are not looked up, as a sentence for people. None if they are looked up.

    A reason never goes away, not even after a restart. Rows that were left out get no result, so nothing here may
    wait for them.
    """
    if upload.cancelled:
        return _CANCELLED
    if upload.sample_rows is not None and fed_rows >= upload.sample_rows:
        return _BEYOND_SAMPLE.format(upload.sample_rows)
    if upload.max_calls is not None and join_counts.calls >= upload.max_calls:
        return _BEYOND_CAP.format(upload.max_calls)
    return None

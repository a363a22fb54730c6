"""Decides what the pages say about an upload: its state, headline, progress, outcome, and why it waits; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from schemas.interface import Upload, Why
from schemas.rows import RowState
from schemas.uploads import FINISHED, Detected, UploadState
from services.assembler.status.pages.wording.formatting import duration, number, plural
from services.assembler.status.pages.wording.rows import PROBLEMS

When = Literal["past", "now", "later"]
SHOWS: Final[Mapping[str, tuple[str, tuple[UploadState, ...]]]] = {
    "all": ("All", ()),
    "active": ("Running", ("pending", "checking", "in_progress", "paused")),
    "checked": ("Ready to start", ("checked",)),
    "completed": ("Done", ("completed",)),
    "stopped": ("Failed or stopped", ("failed", "cancelled")),
}
"""Filters of the list: by name in the address, the title and the states that the filter shows."""
STATES: Final[Mapping[str, str]] = {
    "pending": "Waiting to be read",
    "checking": "Reading the file",
    "checked": "Ready to start",
    "in_progress": "Looking up",
    "paused": "Paused",
    "completed": "Done",
    "failed": "Failed",
    "cancelled": "Stopped",
}
TONES: Final[Mapping[str, str]] = {
    "pending": "calm",
    "checking": "calm",
    "checked": "ask",
    "in_progress": "busy",
    "paused": "ask",
    "completed": "good",
    "failed": "bad",
    "cancelled": "calm",
}
_REASONS_TO_WAIT: Final[Mapping[str, str]] = {
    "being_read": "The file is being read.",
    "waiting_turn": "Other uploads are being looked up too. Calls are shared fairly between all uploads.",
    "backoff": "The last phones got no answer yet. They are retried in a moment.",
    "paused": "Calls are paused. Nothing is lost; the upload continues when they resume.",
    "account_problem": "The lookup service refuses our account (key or credit). An operator has to fix this.",
    "provider_down": "The lookup service does not answer. Calls are retried once a minute.",
    "provider_throttled": "The lookup service asked us to slow down, so this upload takes a little longer.",
    "shared_with_other_upload": "The same phones are already being looked up for another upload.",
    "part_down": "Part of the system is not running. Nothing is lost; the upload continues when it is back.",
    "rows_missing": "Some rows were read from the file but never arrived.",
}


@dataclass(frozen=True, slots=True)
class ProgressStep:
    """One step from file to result."""

    words: str
    when: When


def tone(upload: Upload) -> str:
    """The colour of the state; a completed upload with failed rows is not green."""
    if upload.state == "completed" and upload.counts.failed:
        return "ask"
    return TONES[upload.state]


def state_words(upload: Upload) -> str:
    if upload.state == "completed" and upload.counts.failed:
        return "Done, with gaps"
    if upload.state == "in_progress" and upload.round:
        return "Looking up again"
    return STATES[upload.state]


def percent(upload: Upload) -> int:
    """Rows with an outcome, in whole percent; 100 only when no row is left."""
    counts = upload.counts
    settled = counts.answered + counts.failed + counts.rejected
    return 0 if not counts.rows else int(100 * settled / counts.rows)


def title_words(upload: Upload) -> str:
    """The title of the browser tab."""
    if upload.state in ("in_progress", "paused"):
        return f"{percent(upload)} %{' (paused)' if upload.state == 'paused' else ''}"
    return state_words(upload)


def announce_words(upload: Upload) -> str:
    """The announcement for screen readers, in steps of ten percent, as they read every change aloud."""
    if upload.state == "in_progress":
        return f"{upload.name}: {percent(upload) // 10 * 10} percent done"
    return f"{upload.name}: {state_words(upload)}"


def headline(upload: Upload) -> str:
    """One sentence about the upload's progress."""
    counts = upload.counts
    settled = counts.answered + counts.failed + counts.rejected
    if upload.state == "pending":
        return "The file is stored and will be read in a moment."
    if upload.state == "checking":
        return "Reading the file to find its phone numbers."
    if upload.state == "checked":
        return "Nothing has been looked up yet. Review the plan, then start."
    if upload.state == "failed":
        return "This file could not be processed."
    if upload.state == "cancelled":
        return f"Stopped: {plural(counts.answered, 'row')} answered, {number(counts.unprocessed)} not looked up."
    if upload.state == "completed":
        return _completed(upload)
    return f"{number(settled)} of {plural(counts.rows, 'row')} done"


def _completed(upload: Upload) -> str:
    counts = upload.counts
    if not counts.rows:
        return "The file has no rows."
    if not counts.failed and not counts.rejected and not counts.unprocessed:
        return (
            "The row has its answer." if counts.rows == 1 else f"All {plural(counts.rows, 'row')} have their answers."
        )
    parts = [f"{number(counts.answered)} of {plural(counts.rows, 'row')} answered"]
    if counts.failed:
        parts.append(f"{number(counts.failed)} got no answer")
    if counts.rejected:
        parts.append(f"{number(counts.rejected)} had no usable number")
    if counts.unprocessed:
        parts.append(f"{number(counts.unprocessed)} not looked up")
    return ", ".join(parts) + "."


def took_words(upload: Upload) -> str:
    """How long a finished upload took from its start; empty for others."""
    if upload.finished_at is None or upload.started_at is None:
        return ""
    return f"took {duration((upload.finished_at - upload.started_at).total_seconds())}"


def progress_words(upload: Upload) -> str:
    """The progress in a few words, for the list."""
    if upload.state in ("in_progress", "paused"):
        return f"{percent(upload)} %"
    if upload.state == "checked" and upload.plan is not None and upload.plan.calls is not None:
        return f"{plural(upload.plan.calls, 'call')} planned"
    return ""


def outcome_words(upload: Upload) -> str:
    """The outcome in a few words, for the list."""
    counts = upload.counts
    if upload.state == "failed" and upload.error is not None:
        return upload.error.title
    parts = []
    if upload.state in FINISHED and counts.answered:
        parts.append(f"{number(counts.answered)} answered")
    if counts.failed:
        parts.append(f"{number(counts.failed)} without an answer")
    if counts.rejected:
        parts.append(f"{number(counts.rejected)} not usable")
    if upload.state in FINISHED and counts.unprocessed:
        parts.append(f"{number(counts.unprocessed)} not looked up")
    return ", ".join(parts)


def stages(upload: Upload) -> list[ProgressStep]:
    """The steps from file to result, with the present one marked."""
    looking = "Looking up" if upload.state in ("in_progress", "paused") else "Looked up"
    reading = "Reading" if upload.state in ("pending", "checking") else "Read and checked"
    steps = ["Stored", reading, looking, "Done"]
    current = {"pending": 1, "checking": 1, "checked": 2, "in_progress": 2, "paused": 2}.get(upload.state, 4)
    if upload.state == "checked":
        steps[2] = "Waiting for your start"
    if upload.state == "cancelled":
        steps, current = [*steps[:2], "Stopped"], 3
    whens: list[When] = ["past" if n < current else "now" if n == current else "later" for n in range(len(steps))]
    return [ProgressStep(step, when) for step, when in zip(steps, whens, strict=True)]


def problem_counts(upload: Upload) -> list[tuple[str, int, RowState]]:
    """What went wrong: the words, how many rows, and the state of these rows."""
    counts = upload.counts
    problems: list[tuple[str, int, RowState]] = []
    if counts.failed:
        problems.append(("The lookup service gave no answer", counts.failed, "failed"))
    codes = {} if upload.preview is None else upload.preview.problems
    if counts.rejected and sum(codes.values()) == counts.rejected:
        problems += [(PROBLEMS.get(code, code), count, "rejected") for code, count in codes.items()]
    elif counts.rejected:
        problems.append(("No usable number in the row", counts.rejected, "rejected"))
    return problems


def column_title(detected: Detected | None, index: int) -> str:
    """The column's title, or its number from 1 if the file has none."""
    if detected is not None and detected.header and index < len(detected.columns):
        return detected.columns[index]
    return f"Column {index + 1}"


def why_in_words(why: Why | None) -> str | None:
    return None if why is None else _REASONS_TO_WAIT.get(why.code, why.code)


def page_of(upload: Upload) -> str:
    """The page that an upload's name links to: the plan while it waits for a start, else its progress."""
    return f"{upload.links.page}/check" if upload.state == "checked" else upload.links.page

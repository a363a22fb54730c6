"""Decides what the pages say of an upload, a row and the queue: headlines, stages, outcomes; pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from schemas.interface import Queue, Row, Upload
from schemas.uploads import FINISHED, UploadState
from services.assembler.status.pages.wording import words
from services.assembler.status.pages.wording.words import number, plural

When = Literal["past", "now", "later"]
SHOWS: Final[Mapping[str, tuple[str, tuple[UploadState, ...]]]] = {
    "all": ("All", ()),
    "active": ("Running", ("pending", "checking", "in_progress", "paused")),
    "checked": ("Ready to start", ("checked",)),
    "completed": ("Done", ("completed",)),
    "stopped": ("Failed or stopped", ("failed", "cancelled")),
}
"""Filters of the list: their names in its address, their titles, and the states they show."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of an upload's way."""

    words: str
    when: When


def tone(upload: Upload) -> str:
    """The colour of its state; a completed upload with rows that went wrong is not all good."""
    if upload.state == "completed" and upload.counts.failed:
        return "ask"
    return words.TONES[upload.state]


def state_words(upload: Upload) -> str:
    if upload.state == "completed" and upload.counts.failed:
        return "Done, with gaps"
    if upload.state == "in_progress" and upload.round:
        return "Looking up again"
    return words.STATES[upload.state]


def percent(upload: Upload) -> int:
    """Rows with their outcome, in whole percent; 100 only when none is left."""
    counts = upload.counts
    settled = counts.answered + counts.failed + counts.rejected
    return 0 if not counts.rows else int(100 * settled / counts.rows)


def title_words(upload: Upload) -> str:
    """For the tab: what one wants to know without opening it."""
    if upload.state in ("in_progress", "paused"):
        return f"{percent(upload)} %{' (paused)' if upload.state == 'paused' else ''}"
    return state_words(upload)


def announce_words(upload: Upload) -> str:
    """For screen readers, which hear every change: steps of ten percent are enough."""
    if upload.state == "in_progress":
        return f"{upload.name}: {percent(upload) // 10 * 10} percent done"
    return f"{upload.name}: {state_words(upload)}"


def headline(upload: Upload) -> str:
    """One sentence that says where the upload is."""
    counts = upload.counts
    settled = counts.answered + counts.failed + counts.rejected
    if upload.state == "pending":
        return "The file is stored and will be read in a moment."
    if upload.state == "checking":
        return "The file is being read, to find the phone numbers in it."
    if upload.state == "checked":
        return "Nothing has been looked up yet. See what would happen, then start."
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
    """How long a finished upload took from its start."""
    if upload.finished_at is None or upload.started_at is None:
        return ""
    return f"took {words.duration((upload.finished_at - upload.started_at).total_seconds())}"


def progress_words(upload: Upload) -> str:
    """A few words for the list."""
    if upload.state in ("in_progress", "paused"):
        return f"{percent(upload)} %"
    if upload.state == "checked" and upload.plan is not None and upload.plan.calls is not None:
        return f"{plural(upload.plan.calls, 'call')} planned"
    return ""


def outcome_words(upload: Upload) -> str:
    """What came of it, in the list."""
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


def stages(upload: Upload) -> list[Stage]:
    """The steps from file to result, with where the upload is."""
    looking = "Looking up" if upload.state in ("in_progress", "paused") else "Looked up"
    reading = "Reading" if upload.state in ("pending", "checking") else "Read and checked"
    steps = ["Stored", reading, looking, "Done"]
    current = {"pending": 1, "checking": 1, "checked": 2, "in_progress": 2, "paused": 2}.get(upload.state, 4)
    if upload.state == "checked":
        steps[2] = "Waiting for your start"
    if upload.state == "cancelled":
        steps, current = [*steps[:2], "Stopped"], 3
    whens: list[When] = ["past" if n < current else "now" if n == current else "later" for n in range(len(steps))]
    return [Stage(step, when) for step, when in zip(steps, whens, strict=True)]


PROBLEMS_IN_BRIEF: Final[Mapping[str, str]] = {
    "no_phone": "Empty cell",
    "not_a_phone": "Not a phone number",
    "lost_digits": "Digits lost",
}
"""For tables, where one long sentence would push all other columns out of sight."""


def row_words(row: Row) -> str:
    if row.result is not None and row.result.verdict is not None:
        return words.VERDICTS[row.result.verdict]
    if row.state == "rejected" and row.error is not None:
        return PROBLEMS_IN_BRIEF.get(row.error.code, words.ROW_STATES[row.state])
    return words.ROW_STATES[row.state]


def row_tone(row: Row) -> str:
    if row.result is not None and row.result.verdict is not None:
        return {"ok": "good", "do_not_call": "bad", "unreachable": "ask"}.get(row.result.verdict, "plain")
    return {"failed": "bad", "waiting": ""}.get(row.state, "plain")


_REASONS: Final[Mapping[str, str]] = {
    "garbage": "The lookup service's answer could not be read",
    "no_connection": "The connection to the lookup service broke off",
    "throttled": "The lookup service asked us to slow down",
    "timeout": "The lookup service did not answer in time",
    "too_large": "The lookup service's answer was far too long",
    "max_calls": "The upload had used all the calls that it was allowed",
}
_QUEUE_WORDS: Final[Mapping[str, str]] = {
    "paused": "All calls are paused",
    "account_problem": "The lookup service refuses our account",
    "provider_down": "The lookup service does not reply",
    "no_gate": "No calls can be made: the gate is not running",
}


def queue_words(queue: Queue) -> str:
    """The strip at the top: is it moving, and how much is before me."""
    waiting = queue.pending + queue.in_progress
    if queue.state in _QUEUE_WORDS:
        return _QUEUE_WORDS[queue.state] + (f" · {plural(waiting, 'phone')} waiting" if waiting else "")
    if not waiting:
        return "Nothing is waiting"
    if queue.uploads and all(one.why is not None and one.why.code == "paused" for one in queue.uploads):
        return f"{plural(waiting, 'phone')} waiting in paused uploads"
    pace = f"{queue.used_last_window} of {words.limit_in_words(queue.limit.calls, queue.limit.window_seconds)}"
    slowed = ", slowed down by the lookup service" if queue.state == "throttled" else ""
    return f"{pace}{slowed} · {plural(waiting, 'phone')} waiting"


def reason_words(code: str) -> str:
    """Why phones were given up. Codes of the lookup service's status keep their number: operators search for it."""
    if code.startswith("http_"):
        return f"The lookup service answered with an error ({code.removeprefix('http_')})"
    return _REASONS.get(code, code or "Unknown")


def queue_tone(queue: Queue) -> str:
    if queue.state == "running":
        return "busy" if queue.pending or queue.in_progress else "good"
    return "ask" if queue.state in ("paused", "throttled") else "bad"


def page_of(upload: Upload) -> str:
    """Where to go with an upload: to its plan while it waits for a person, else to its progress."""
    return f"{upload.links.page}/check" if upload.state == "checked" else upload.links.page


TEMPLATE_WORDS: Final[Mapping[str, Callable[..., object] | Mapping[str, str]]] = {
    "tone": tone,
    "state_words": state_words,
    "percent": percent,
    "title_words": title_words,
    "announce_words": announce_words,
    "headline": headline,
    "took_words": took_words,
    "progress_words": progress_words,
    "outcome_words": outcome_words,
    "stages": stages,
    "row_words": row_words,
    "row_tone": row_tone,
    "queue_words": queue_words,
    "reason_words": reason_words,
    "queue_tone": queue_tone,
    "page_of": page_of,
    "number": words.number,
    "plural": words.plural,
    "file_size": words.file_size,
    "size_limit": words.size_limit,
    "duration": words.duration,
    "money": words.money,
    "iso": words.iso,
    "verdict_words": words.VERDICTS,
    "row_state_words": words.ROW_STATES,
    "line_type_words": words.LINE_TYPES,
    "problem_words": words.PROBLEMS,
    "brief_problem_words": PROBLEMS_IN_BRIEF,
}

"""Encodes the outcome of a form post in the redirect URL and turns it back into a sentence; pure."""

import re
from collections.abc import Callable, Mapping
from typing import Final

from services.assembler.status.pages.wording.formatting import number, plural

MOST: Final = 999_999
"""Larger counts are shown as `999,999 or more`: a number of six digits cannot be a phone."""
_CODE: Final = re.compile(r"([a-z-]{1,20})((?:\.[0-9]{1,6}){1,3})")


def done_code(command: str, *counts: int) -> str:
    """The code of an outcome, for the address of the page that follows: the command and its counts."""
    return ".".join((command, *(str(min(count, MOST)) for count in counts)))


def done_sentence(code: str) -> str:
    """The sentence for a code; empty for any other text, as anybody may have written the address."""
    found = _CODE.fullmatch(code)
    if found is None or found[1] not in _SENTENCES:
        return ""
    needed, sentence = _SENTENCES[found[1]]
    counts = [int(text) for text in found[2].split(".")[1:]]
    return sentence(*counts) if len(counts) == needed else ""


def _some(count: int, noun: str) -> str:
    if count >= MOST:
        return f"{number(MOST)} or more {noun}s"
    return plural(count, noun)


def _on_uploads(done: str, why_not: str) -> Callable[[int, int], str]:
    """The sentence of a command on several uploads: how many were changed, and how many were not, with the reason."""

    def sentence(count: int, skipped: int) -> str:
        rest = f" {_some(skipped, 'upload')} not changed: {why_not}." if skipped else ""
        return f"{done} {_some(count, 'upload')}.{rest}"

    return sentence


def _redriven(rows: int, calls: int, skipped: int) -> str:
    done = f"Retrying {_some(rows, 'row')} with {_some(calls, 'call')}."
    rest = (
        f" {_some(skipped, 'upload')} skipped: already being retried, or retried often enough. "
        "The upload's own Retry button forces another try."
    )
    return done + (rest if skipped else "")


def _dismissed(rows: int) -> str:
    rest = "Its upload still counts it as failed." if rows == 1 else "Their uploads still count them as failed."
    return f"Removed {_some(rows, 'row')} from the list. {rest}"


def _republished(done: int, skipped: int) -> str:
    reasons = "no longer in Kafka, too large, or out of time"
    rest = f" {_some(skipped, 'record')} not republished: {reasons}." if skipped else ""
    return f"Republished {_some(done, 'record')}.{rest}"


_SENTENCES: Final[Mapping[str, tuple[int, Callable[..., str]]]] = {
    "pause": (2, _on_uploads("Paused", "only running uploads can be paused")),
    "resume": (2, _on_uploads("Resumed", "only paused uploads can be resumed")),
    "cancel": (2, _on_uploads("Stopped", "finished uploads cannot be stopped")),
    "retry-failed": (
        2,
        _on_uploads("Retrying failed rows in", "not finished, without failed rows, or retried often enough"),
    ),
    "delete": (2, _on_uploads("Deleted", "cannot be deleted now")),
    "sweep": (2, lambda rows, back: f"Sweep finished: {_some(rows, 'row')} checked, {_some(back, 'row')} republished."),
    "redrive": (3, _redriven),
    "dismiss": (1, _dismissed),
    "retry-records": (2, _republished),
    "count": (1, lambda uploads: f"{_some(uploads, 'upload')} would be deleted."),
    "clear": (1, lambda uploads: f"{_some(uploads, 'upload')} will be deleted."),
}
"""By command: the number of its counts, and the sentence that they make."""

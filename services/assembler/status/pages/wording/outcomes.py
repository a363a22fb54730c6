"""Decides how an address says what a button did, a code and small numbers, and what the page then says of it; pure."""

import re
from collections.abc import Callable, Mapping
from typing import Final

from services.assembler.status.pages.wording.words import number, plural

MOST: Final = 999_999
"""It and all larger counts are said as `999,999 or more`: six digits are no phone."""
_CODE: Final = re.compile(r"([a-z-]{1,20})((?:\.[0-9]{1,6}){1,3})")


def done_code(command: str, *counts: int) -> str:
    """What stands in the address of the page that follows a button, for `done_sentence` to read."""
    return ".".join((command, *(str(min(count, MOST)) for count in counts)))


def done_sentence(code: str) -> str:
    """What the page says; nothing for a text that is no code, as anybody may have written the address."""
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
    """For a command on several uploads: on how many it was carried out, and on how many it could not be."""

    def sentence(count: int, left: int) -> str:
        rest = f" {_some(left, 'upload')} left as before: {why_not}." if left else ""
        return f"{done} {_some(count, 'upload')}.{rest}"

    return sentence


def _redriven(rows: int, calls: int, left: int) -> str:
    rest = (
        f" {_some(left, 'upload')} left alone: looked up again already, or tried often enough; its own "
        "button tries once more."
    )
    tried = f"{_some(rows, 'row')} will be tried again, with {_some(calls, 'call')}."
    return tried + (rest if left else "")


def _republished(done: int, left: int) -> str:
    rest = f" {_some(left, 'record')} could not be: no longer in Kafka, too large, or not reached yet." if left else ""
    return f"Published {_some(done, 'record')} again.{rest}"


_SENTENCES: Final[Mapping[str, tuple[int, Callable[..., str]]]] = {
    "pause": (2, _on_uploads("Paused", "only what is running can be paused")),
    "resume": (2, _on_uploads("Resumed", "only what is paused can be resumed")),
    "cancel": (2, _on_uploads("Stopped", "what has ended cannot be stopped")),
    "retry-failed": (
        2,
        _on_uploads("Trying again the failed rows of", "not done yet, no failed rows, or tried often enough"),
    ),
    "delete": (2, _on_uploads("Deleted", "it cannot be deleted now")),
    "sweep": (2, lambda rows, back: f"Swept: {_some(rows, 'row')} looked at, {_some(back, 'row')} put back."),
    "redrive": (3, _redriven),
    "dismiss": (
        1,
        lambda rows: f"{_some(rows, 'row')} taken off the list; the uploads keep them as failed.",
    ),
    "retry-records": (2, _republished),
    "count": (1, lambda uploads: f"{_some(uploads, 'upload')} would be deleted."),
    "clear": (1, lambda uploads: f"{_some(uploads, 'upload')} will be deleted."),
}
"""By command: how many counts belong to it, and the sentence that they make."""

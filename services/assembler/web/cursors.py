"""Turns the place where a page of a list ended into an opaque cursor and back."""

from base64 import urlsafe_b64decode, urlsafe_b64encode

from services.runtime.problems import ProblemError


def encode_cursor(*parts: str | int) -> str:
    text = "|".join(str(part) for part in parts)
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str, parts: int) -> list[str]:
    """The parts of a cursor.

    Raises:
        ProblemError: 400 when it is none of ours.
    """
    try:
        found = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().split("|")
    except ValueError:
        found = []
    if len(found) != parts:
        raise _wrong()
    return found


def whole_number(text: str) -> int:
    """A part of a cursor that has to be a number."""
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise _wrong()
    return int(text)


def _wrong() -> ProblemError:
    return ProblemError(400, "wrong-cursor", "The cursor is not known", "Use the `next` of the page before, unchanged.")

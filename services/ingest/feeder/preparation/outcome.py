"""What the reading of a file came to, as its child process says it and the feeder believes it: checked by its shape."""

from schemas.base import Message
from schemas.uploads import Detected, FileCounts, Preview
from schemas.values import Sentence, Token, Word


class Refusal(Message):
    """Why the file cannot be processed."""

    code: Token
    title: Word
    detail: Sentence


class ReaderOutcome(Message):
    """Either a refusal, or all the rest."""

    refusal: Refusal | None = None
    detected: Detected | None = None
    counts: FileCounts | None = None
    preview: Preview = Preview()

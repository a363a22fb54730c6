"""Owns the outcome that the reader process leaves in the spool, validated before the feeder uses it."""

from schemas.base import Message
from schemas.uploads import Detected, FileCounts, Preview
from schemas.values import Sentence, Token, Word


class Refusal(Message):
    """Why the file cannot be processed."""

    code: Token
    title: Word
    detail: Sentence


class ReaderOutcome(Message):
    """Either a refusal, or all the other fields."""

    refusal: Refusal | None = None
    detected: Detected | None = None
    counts: FileCounts | None = None
    preview: Preview = Preview()

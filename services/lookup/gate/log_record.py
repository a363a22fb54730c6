"""Defines the topics that the fold reads, and the shape of their records. Pure."""

from dataclasses import dataclass

from schemas import topics
from schemas.topics import Topic

FOLDED: tuple[Topic, ...] = (
    topics.LOOKUP_REQUESTS,
    topics.LOOKUP_RETRIES,
    topics.UPLOAD_EVENTS,
    topics.LOOKUP_COMMANDS,
    topics.LOOKUP_RESULTS,
    topics.LOOKUP_STATUS,
)


@dataclass(frozen=True, slots=True)
class LogRecord:
    """A record of one of these topics. Only its key is decoded."""

    topic: Topic
    key: str
    value: bytes | None
    offset: int
    timestamp_ms: int

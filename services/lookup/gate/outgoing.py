"""A record on its way to Kafka, and what can become of it. Pure."""

from dataclasses import dataclass

from schemas.topics import Topic

LARGE_BYTES = 32 * 1024
"""A record over this size goes by a producer of its own, in a batch of its own. When a broker refuses a batch for its
size, an idempotent producer has used up sequence numbers, and each later batch fails until the producer is replaced."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to be written. `partition_key` decides its partition where that is not the key."""

    topic: Topic
    key: str
    value: bytes | None
    partition_key: str | None = None
    headers: tuple[tuple[str, bytes], ...] = ()

    @property
    def is_large(self) -> bool:
        return len(self.value or b"") + sum(len(text) for _, text in self.headers) > LARGE_BYTES


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a record can never be written: Kafka's limit on sizes, or an error that is not Kafka's."""

    error: str
    is_too_large: bool


Outcome = int | Refused
"""A record's timestamp, milliseconds since the epoch, or why there is none."""

"""Defines a record on its way to Kafka and the result of sending it. Pure."""

from dataclasses import dataclass

from schemas.topics import Topic

LARGE_BYTES = 32 * 1024
"""A larger record is sent by a second producer, in a batch of its own. When a broker refuses a batch for its size, an
idempotent producer has used up sequence numbers, and each later batch fails until the producer is replaced."""


@dataclass(frozen=True, slots=True)
class OutgoingRecord:
    """A record to be written. `partition_key` decides its partition; None: `key` does."""

    topic: Topic
    key: str
    value: bytes | None
    partition_key: str | None = None
    headers: tuple[tuple[str, bytes], ...] = ()

    @property
    def is_large(self) -> bool:
        return len(self.value or b"") + sum(len(text) for _, text in self.headers) > LARGE_BYTES


@dataclass(frozen=True, slots=True)
class Undeliverable:
    """The reason why a record can never be written: Kafka's limit on sizes, or an error that is not Kafka's."""

    error: str
    is_too_large: bool


Delivery = int | Undeliverable
"""The timestamp of a written record in milliseconds since the epoch, or the reason why it was not written."""

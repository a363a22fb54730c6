"""Decides how large the records are that a file is cut into."""

CHUNK_BYTES = 900_000
"""A record's value: below Kafka's usual limit of 1 MiB with room for key and headers."""
_OVERHEAD_BYTES = 2_000
"""Of a batch that holds one chunk: its own head, key and headers, with room to spare."""
_LEAST_CHUNK_BYTES = 1_000


def chunk_bytes(most_record_bytes: int) -> int:
    """How large chunks are where Kafka takes records of at most so many bytes."""
    return min(CHUNK_BYTES, max(_LEAST_CHUNK_BYTES, most_record_bytes - _OVERHEAD_BYTES))

"""Decides the size of the chunks of a file: each chunk is one record."""

CHUNK_BYTES = 900_000
"""The largest chunk, in bytes of a record's value: below Kafka's usual limit of 1 MiB with room for key and headers."""
_OVERHEAD_BYTES = 2_000
"""Bytes of a batch with one chunk besides the chunk: the batch header, the key and the record headers, and a margin."""
_LEAST_CHUNK_BYTES = 1_000


def chunk_bytes(most_record_bytes: int) -> int:
    """The chunk size for a topic that takes records of at most `most_record_bytes`."""
    return min(CHUNK_BYTES, max(_LEAST_CHUNK_BYTES, most_record_bytes - _OVERHEAD_BYTES))

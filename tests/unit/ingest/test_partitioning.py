"""Rows must land where Kafka's own clients put them."""

from aiokafka.partitioner import murmur2
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.partitioning import partition_hash, partition_of


@given(st.binary(max_size=60))
def test_the_hash_is_kafkas(key: bytes) -> None:
    assert partition_hash(key) == murmur2(key) & 0x7FFFFFFF


@given(st.binary(max_size=40), st.integers(1, 64))
def test_every_key_has_a_partition(key: bytes, partitions: int) -> None:
    assert 0 <= partition_of(key, partitions) < partitions

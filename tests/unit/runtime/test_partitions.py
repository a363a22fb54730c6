"""Rows must land where Kafka's own clients put them."""

from aiokafka.partitioner import DefaultPartitioner, murmur2
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.partitions import partition_hash, partition_of


@given(st.binary(max_size=60))
def test_the_hash_is_kafkas(key: bytes) -> None:
    assert partition_hash(key) == murmur2(key) & 0x7FFFFFFF


@given(st.binary(max_size=40), st.integers(1, 64))
def test_every_key_has_a_partition(key: bytes, partitions: int) -> None:
    assert 0 <= partition_of(key, partitions) < partitions


@given(st.binary(min_size=1, max_size=40), st.integers(1, 64))
def test_a_producer_that_is_given_a_key_chooses_the_same_partition(key: bytes, partitions: int) -> None:
    numbers = list(range(partitions))
    assert DefaultPartitioner()(key, numbers, numbers) == partition_of(key, partitions)

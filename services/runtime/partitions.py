"""Decides which partition a key goes to: Kafka's murmur2, so that every client puts a phone on the same one."""

from struct import Struct

_M = 0x5BD1E995
_MASK = 0xFFFFFFFF
_WORDS = tuple(Struct(f"<{count}I") for count in range(17))


def partition_hash(key: bytes) -> int:
    """Kafka's positive murmur2 of a key (`Utils.murmur2` of the Java client with the sign bit cleared)."""
    length = len(key)
    h = 0x9747B28C ^ length
    whole = length >> 2
    words = _WORDS[whole] if whole < len(_WORDS) else Struct(f"<{whole}I")
    for word in words.unpack_from(key):
        k = (word * _M) & _MASK
        h = ((h * _M) ^ ((k ^ (k >> 24)) * _M)) & _MASK
    if length & 3:
        h = ((h ^ int.from_bytes(key[whole << 2 :], "little")) * _M) & _MASK
    h = ((h ^ (h >> 13)) * _M) & _MASK
    return (h ^ (h >> 15)) & 0x7FFFFFFF


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key on a topic with so many partitions."""
    return partition_hash(key) % partitions

"""Decides which partition a key goes to: Kafka's murmur2, so that every client puts a phone on the same one."""

_M = 0x5BD1E995
_MASK = 0xFFFFFFFF


def partition_hash(key: bytes) -> int:
    """Kafka's positive murmur2 of a key (`Utils.murmur2` of the Java client with the sign bit cleared)."""
    length = len(key)
    h = 0x9747B28C ^ length
    whole = length & ~3
    for i in range(0, whole, 4):
        k = (int.from_bytes(key[i : i + 4], "little") * _M) & _MASK
        k = ((k ^ (k >> 24)) * _M) & _MASK
        h = ((h * _M) & _MASK) ^ k
    if length != whole:
        h = ((h ^ int.from_bytes(key[whole:], "little")) * _M) & _MASK
    h = ((h ^ (h >> 13)) * _M) & _MASK
    return (h ^ (h >> 15)) & 0x7FFFFFFF


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key on a topic with so many partitions."""
    return partition_hash(key) % partitions

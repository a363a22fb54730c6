"""Owns the numbers that stand for times and for places in a log; pure.

A time is stored as microseconds since 1970 UTC. The number of a place depends on the log alone, so a rebuilt database
holds the same numbers.
"""

from datetime import UTC, datetime, timedelta

OFFSET_BITS = 40
"""Bits of an offset in a result's id: a partition of 10^12 records."""
PARTITION_BITS = 20
"""Bits of a partition's number in a row's place; 43 are left for milliseconds, which last beyond the year 2200."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def to_micros(moment: datetime) -> int:
    """Microseconds since 1970, exact."""
    return (moment - EPOCH) // MICROSECOND


def from_micros(micros: int) -> datetime:
    """The inverse of `to_micros`."""
    return EPOCH + micros * MICROSECOND


def row_place(timestamp_ms: int, partition: int) -> int:
    """The place of a row's record among the records of all partitions, by time.

    Two records of one partition may have the same place; then their order in the log decides.
    """
    return timestamp_ms << PARTITION_BITS | partition


def result_id(partition: int, offset: int) -> int:
    """The id of the result at this place of `lookup-results`; ids of one phone grow in log order."""
    return partition << OFFSET_BITS | offset

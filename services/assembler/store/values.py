"""Owns how values are stored: a row's state, points in time, a result's id.

Times are microseconds since 1970 UTC. A result's id is its place in the log, therefore a rebuilt database gives it the
same id.
"""

from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any

from sqlalchemy import BigInteger, Dialect, TypeDecorator

OFFSET_BITS = 40
"""Bits of an offset in a result's id: a partition of 10^12 records."""
PARTITION_BITS = 20
"""Bits of a partition's number in a row's place; 43 are left for milliseconds, which last beyond the year 2200."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class State(IntEnum):
    """A row's state as stored. `waiting` rows of a cancelled upload count as `unprocessed` wherever they are shown."""

    waiting = 0
    answered = 1
    failed = 2
    rejected = 3
    unprocessed = 4


def to_micros(moment: datetime) -> int:
    """Microseconds since 1970, exact."""
    return (moment - EPOCH) // MICROSECOND


def from_micros(micros: int) -> datetime:
    return EPOCH + micros * MICROSECOND


def row_place(timestamp_ms: int, partition: int) -> int:
    """The place of a row's record among those of all partitions, by time. Two of one partition may have the same one:

    then their order in the log tells.
    """
    return timestamp_ms << PARTITION_BITS | partition


def result_id(partition: int, offset: int) -> int:
    """The id of the result at this place of `lookup-results`; ids of one phone grow in log order."""
    return partition << OFFSET_BITS | offset


class Instant(TypeDecorator[datetime]):
    """A point in time, stored as microseconds since 1970 UTC."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        return None if value is None else to_micros(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else from_micros(value)

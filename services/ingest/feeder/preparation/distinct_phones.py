"""Collects the distinct phones of a file in a few bytes each, and yields them in batches."""

from array import array
from collections.abc import Iterator
from pathlib import Path

_BUCKETS = 64
_ARRAY_CODE = "Q"
_PHONE_BYTES = 8


class DistinctPhones:
    """Takes eight bytes for each row. `write` makes one bucket at a time distinct.

    An E.164 phone has at most 15 digits and never begins with 0, so it is a 64-bit number.
    """

    def __init__(self) -> None:
        self._buckets = [array(_ARRAY_CODE) for _ in range(_BUCKETS)]

    def add(self, phone: str) -> None:
        number = int(phone[1:])
        self._buckets[number % _BUCKETS].append(number)

    def write(self, path: Path) -> int:
        """Write each phone once, in an order that depends only on the set. Returns their number."""
        count = 0
        with path.open("wb") as file:
            for bucket in self._buckets:
                numbers = sorted(set(bucket))
                array(_ARRAY_CODE, numbers).tofile(file)
                count += len(numbers)
        return count


def read_batches(path: Path, *, batch_phones: int) -> Iterator[tuple[str, ...]]:
    """The phones of a file that `DistinctPhones.write` made."""
    with path.open("rb") as file:
        while data := file.read(batch_phones * _PHONE_BYTES):
            yield tuple(f"+{number}" for number in array(_ARRAY_CODE, data))

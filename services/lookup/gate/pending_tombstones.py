"""Owns the keys of requests that are done and whose tombstone is not on the log yet. Pure."""

from collections.abc import Collection, Iterable, Iterator
from itertools import islice


class PendingTombstones(Collection[str]):
    """Request keys, the oldest first. The active gate writes their tombstones."""

    def __init__(self) -> None:
        self._keys: dict[str, None] = {}

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: str) -> None:
        """The request is done."""
        self._keys[key] = None

    def discard(self, key: str) -> None:
        """The request's tombstone is on the log."""
        self._keys.pop(key, None)

    def take(self, most: int) -> list[str]:
        """Takes out at most `most` keys, whose tombstones are written next.

        A request may come again and be done again while its tombstone is sent. Then its key is added again.
        """
        keys = list(islice(self._keys, most))
        for key in keys:
            del self._keys[key]
        return keys

    def put_back(self, keys: Iterable[str]) -> None:
        """These tombstones were not written."""
        self._keys.update(dict.fromkeys(keys))

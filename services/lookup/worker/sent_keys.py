"""Owns a bounded memory of request keys that Kafka has acknowledged: a repeated row sends nothing. Pure."""

from collections.abc import Iterable


class SentKeys:
    """The last `limit` to `2 * limit` keys. A forgotten key costs one superfluous record, never a call."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._recent: dict[str, None] = {}
        self._older: dict[str, None] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._recent or key in self._older

    def __len__(self) -> int:
        return len(self._recent) + len(self._older)

    def add(self, keys: Iterable[str]) -> None:
        """Remembers keys whose requests Kafka has acknowledged."""
        for key in keys:
            self._recent[key] = None
            if len(self._recent) >= self._limit:
                self._older, self._recent = self._recent, {}

"""Decides which member has the turn: weighted deficit round robin. No member with work is left out of a round. Pure."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

WEIGHTS = {1: 4.0, 2: 2.0, 3: 1.0, 4: 0.5, 5: 0.25}
"""Calls per round by priority: each step doubles. 1 for the default keeps turns of ordinary uploads one call long."""


class DeficitRoundRobin(Generic[K]):
    """A ring of the members that have work, in the order of their turns.

    The algorithm is that of Shreedhar & Varghese (1995), with calls of size 1. A member that comes to the head is
    granted its weight once, as credit. It stays there while its credit covers a whole call. `add` appends at the end.
    `discard` forfeits the rest of the credit, so that idle time earns nothing. Each operation is O(1).
    """

    __slots__ = ("_credit", "_granted", "_weight")

    def __init__(self, weight: Callable[[K], float]) -> None:
        self._credit: OrderedDict[K, float] = OrderedDict()
        self._weight = weight
        self._granted = False

    def __len__(self) -> int:
        return len(self._credit)

    def __contains__(self, key: K) -> bool:
        return key in self._credit

    def members(self) -> tuple[K, ...]:
        return tuple(self._credit)

    def add(self, key: K) -> None:
        self._credit.setdefault(key, 0.0)

    def discard(self, key: K) -> None:
        if key not in self._credit:
            return
        if next(iter(self._credit)) == key:
            self._granted = False
        del self._credit[key]

    def weight_changed(self, key: K) -> None:
        """Takes back credit beyond the new weight."""
        if key in self._credit:
            self._credit[key] = min(self._credit[key], max(1.0, self._weight(key)))

    def head(self) -> K | None:
        """The member that has the turn; None: no member has work. The answer is the same until `charge`."""
        while self._credit:
            key = next(iter(self._credit))
            if self._credit[key] >= 1.0:
                return key
            if self._granted:
                self._credit.move_to_end(key)
                self._granted = False
            else:
                self._credit[key] += self._weight(key)
                self._granted = True
        return None

    def charge(self, key: K) -> None:
        """One call was made for `key`."""
        self._credit[key] -= 1.0

    def copy(self) -> "DeficitRoundRobin[K]":
        """A copy to look ahead with."""
        twin: DeficitRoundRobin[K] = DeficitRoundRobin(self._weight)
        twin._credit = self._credit.copy()
        twin._granted = self._granted
        return twin

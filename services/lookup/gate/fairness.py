"""Decides whose turn it is: deficit round robin with weights; whoever has work waits for one round at most. Pure."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

WEIGHTS = {1: 4.0, 2: 2.0, 3: 1.0, 4: 0.5, 5: 0.25}
"""Calls per round by priority: each step doubles. 1 for the default keeps turns of ordinary uploads one call long."""


class Wheel(Generic[K]):
    """Those that have work, in the order of their turns (Shreedhar & Varghese 1995, with calls of size 1).

    Whoever comes to the head is granted its weight once, and stays there while a whole call is left of it. `add` puts
    at the end; `discard` forfeits what was left, so an idle time earns nothing. Each is O(1), wherever in the order.
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
        """Takes back credit that the new weight would not have given."""
        if key in self._credit:
            self._credit[key] = min(self._credit[key], max(1.0, self._weight(key)))

    def head(self) -> K | None:
        """Whose turn it is; None if nobody has work. Asking again without `charge` gives the same."""
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

    def copy(self) -> "Wheel[K]":
        """A wheel to look ahead on."""
        twin: Wheel[K] = Wheel(self._weight)
        twin._credit = self._credit.copy()
        twin._granted = self._granted
        return twin

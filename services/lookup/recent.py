"""Owns the results of the last hour, by which a repeated request is known to be answered already. Pure."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from schemas.answers import Want, answers
from schemas.lookups import Answered, LookupResult, Outcome

KEPT_MS = 3_600_000
"""An hour before the newest result: far longer than a request is on its way or a takeover lasts."""


@dataclass(frozen=True, slots=True)
class Known:
    """The fields of a result that the answer rule reads."""

    outcome: Outcome
    looked_up_at: datetime
    answers: tuple[Answered, ...]


class RecentResults:
    """Results by phone, forgotten an hour (of the log's time, not the clock's) after they were written."""

    def __init__(self) -> None:
        self._by_phone: dict[str, tuple[Known, ...]] = {}
        self._arrivals: deque[tuple[int, str, Known]] = deque()

    def __len__(self) -> int:
        return len(self._by_phone)

    def remember(self, result: LookupResult, timestamp_ms: int) -> Known:
        """Reading one result again, as the gate does with its own, changes nothing."""
        known = Known(result.outcome, result.looked_up_at, result.answers)
        have = self._by_phone.get(result.phone, ())
        if known not in have:
            self._by_phone[result.phone] = (*have, known)
            self._arrivals.append((timestamp_ms, result.phone, known))
        self._forget_before(timestamp_ms - KEPT_MS)
        return known

    def erase(self, phone: str, *, failures: bool) -> None:
        """The phone's result was erased from the log: all of them, or only its failures."""
        left = tuple(known for known in self._by_phone.get(phone, ()) if failures and known.outcome != "failed")
        self._keep(phone, left)

    def answers(self, phone: str, want: Want) -> bool:
        return any(answers(known, want) for known in self._by_phone.get(phone, ()))

    def of(self, phone: str) -> Iterable[Known]:
        return self._by_phone.get(phone, ())

    def _forget_before(self, timestamp_ms: int) -> None:
        while self._arrivals and self._arrivals[0][0] < timestamp_ms:
            _, phone, gone = self._arrivals.popleft()
            self._keep(phone, tuple(known for known in self._by_phone.get(phone, ()) if known != gone))

    def _keep(self, phone: str, left: tuple[Known, ...]) -> None:
        if left:
            self._by_phone[phone] = left
        else:
            self._by_phone.pop(phone, None)

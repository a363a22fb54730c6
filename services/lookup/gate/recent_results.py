"""Owns the results of the last hour, which show whether a repeated request is answered already. Pure."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from schemas.answers import Want, answers
from schemas.lookups import Answered, LookupResult, Outcome

KEPT_MS = 3_600_000
"""An hour before the newest result: far longer than the way of a request or a takeover takes."""


@dataclass(frozen=True, slots=True)
class RecentResult:
    """The fields of a result that the answer rule reads. A result can name thousands of uploads."""

    outcome: Outcome
    looked_up_at: datetime
    answers: tuple[Answered, ...]
    _rounds: Mapping[str, int] = field(compare=False)

    @staticmethod
    def of(result: LookupResult) -> "RecentResult":
        rounds: dict[str, int] = {}
        for named in result.answers:
            rounds[named.upload_id] = max(named.round, rounds.get(named.upload_id, 0))
        return RecentResult(result.outcome, result.looked_up_at, result.answers, rounds)

    def answer(self, want: Want) -> bool:
        """Whether this result answers `want`, by the rule in `schemas.answers`. Reads only the round of its upload."""
        round_ = self._rounds.get(want.upload_id)
        named = () if round_ is None else (_Named(want.upload_id, round_),)
        return answers(_Narrowed(self.outcome, self.looked_up_at, named), want)


class _Named(NamedTuple):
    upload_id: str
    round: int


class _Narrowed(NamedTuple):
    outcome: Outcome
    looked_up_at: datetime
    answers: tuple[_Named, ...]


class RecentResults:
    """Results by phone. Each is dropped an hour after it was written, in the time of the log, not of the clock."""

    def __init__(self) -> None:
        self._by_phone: dict[str, tuple[RecentResult, ...]] = {}
        self._arrivals: deque[tuple[int, str, RecentResult]] = deque()
        self._erased: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._by_phone)

    def remember(self, result: LookupResult, timestamp_ms: int) -> RecentResult:
        """Adds a result. The same result again, as when the gate reads back its own, changes nothing."""
        known = RecentResult.of(result)
        have = self._by_phone.get(result.phone, ())
        if known not in have:
            self._by_phone[result.phone] = (*have, known)
            self._arrivals.append((timestamp_ms, result.phone, known))
        self._forget_before(timestamp_ms - KEPT_MS)
        return known

    def erase(self, phone: str, *, failures: bool, at_ms: int) -> None:
        """The phone's results were erased from the log: all of them, or (`failures`) only its failures."""
        if not failures:
            self._erased.pop(phone, None)
            self._erased[phone] = at_ms
        left = tuple(known for known in self._by_phone.get(phone, ()) if failures and known.outcome != "failed")
        self._keep(phone, left)

    def answers(self, phone: str, want: Want) -> bool:
        return any(known.answer(want) for known in self._by_phone.get(phone, ()))

    def was_erased(self, phone: str, *, since_ms: int) -> bool:
        """Whether all results of the phone were erased at this time or later."""
        return self._erased.get(phone, -1) >= since_ms

    def of(self, phone: str) -> Iterable[RecentResult]:
        return self._by_phone.get(phone, ())

    def _forget_before(self, timestamp_ms: int) -> None:
        while self._arrivals and self._arrivals[0][0] < timestamp_ms:
            _, phone, gone = self._arrivals.popleft()
            self._keep(phone, tuple(known for known in self._by_phone.get(phone, ()) if known != gone))

        while self._erased and (oldest := next(iter(self._erased))) and self._erased[oldest] < timestamp_ms:
            del self._erased[oldest]

    def _keep(self, phone: str, left: tuple[RecentResult, ...]) -> None:
        if left:
            self._by_phone[phone] = left
        else:
            self._by_phone.pop(phone, None)

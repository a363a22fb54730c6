"""Decides which stored result answers a row, and caches the results of phones that come often; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from schemas.answers import Want, first_answer, is_fresh
from schemas.lookups import LookupResult, Outcome, verdict_of
from schemas.upload_events import Failures
from services.assembler.domain.row_state import State
from services.assembler.domain.stored_numbers import result_id

CACHED_PHONES = 100_000
"""About 35 MB; phones beyond it are read from SQL again."""


class AnsweredRound(NamedTuple):
    """An upload and round whose request a result settled."""

    upload_id: str
    round: int


@dataclass(frozen=True, slots=True)
class AnswerCandidate:
    """A stored result that may answer a row, with what rule and tallies need of it. `id` grows in log order."""

    id: int
    outcome: Outcome
    looked_up_at: datetime
    answers: tuple[AnsweredRound, ...]
    verdict: str | None
    line_type: str | None
    error_code: str | None = None

    def repeats(self, other: "AnswerCandidate") -> bool:
        """Whether both are the same result, written twice: its writer got no acknowledgement of the first record."""
        return (self.looked_up_at, self.outcome, self.answers) == (other.looked_up_at, other.outcome, other.answers)


@dataclass(frozen=True, slots=True)
class PartialRound:
    """A round for some of the failed rows. `only` None: for all failed rows except those in `but_not`."""

    round: int
    only: Failures | None
    but_not: tuple[Failures, ...] = ()

    def includes(self, failure: AnswerCandidate) -> bool:
        about = failure.error_code, failure.looked_up_at
        return (self.only is None or self.only.include(*about)) and not any(f.include(*about) for f in self.but_not)


@dataclass(frozen=True, slots=True)
class UploadWant(Want):
    """The results that an upload wants. `round` is its newest one for all failed rows; later ones are partial."""

    partial_rounds: tuple[PartialRound, ...] = ()

    def of_phone(self, candidates: "Sequence[AnswerCandidate]") -> Want:
        """What the upload wants of a phone with these results. A partial round counts if it includes their failure.

        It depends on the phone's results alone, so a rebuilt database gives the same.
        """
        want: Want = self
        for partial in self.partial_rounds:
            failure = first_answer(candidates, want)
            if failure is not None and failure.outcome == "failed" and partial.includes(failure):
                want = replace(want, round=partial.round)
        return want


@lru_cache(maxsize=4096)
def answered_round(upload_id: str, round_: int) -> AnsweredRound:
    """One shared object for each upload and round, because thousands of results name the same one."""
    return AnsweredRound(upload_id, round_)


def candidate_of(result: LookupResult, *, partition: int, offset: int) -> AnswerCandidate:
    """The candidate for a result at this place of the log."""
    return AnswerCandidate(
        result_id(partition, offset),
        result.outcome,
        result.looked_up_at,
        tuple(answered_round(answered.upload_id, answered.round) for answered in result.answers),
        verdict_of(result.outcome, result.data),
        None if result.data is None else result.data.line_type,
        None if result.error is None else result.error.code,
    )


def judge(candidates: Sequence[AnswerCandidate], want: UploadWant | None) -> tuple[State, AnswerCandidate | None]:
    """The state of a usable row, and the result that answers it. `want` None: its upload has not been opened yet."""
    if want is None or not candidates:
        return State.waiting, None
    first = candidates[0]
    if first.outcome != "failed" and is_fresh(
        first.looked_up_at, accept_since=want.accept_since, cancelled_at=want.cancelled_at
    ):
        # The most frequent case of the rule, at a quarter of its cost.
        return State.answered, first
    found = first_answer(candidates, want.of_phone(candidates) if want.partial_rounds else want)
    if found is None:
        return State.waiting, None
    return (State.failed if found.outcome == "failed" else State.answered), found


class CandidateCache:
    """Candidates by phone, in log order, including phones without any. Bounded: drops phones that were not used.

    It is correct as long as `add` gets every new result of the partitions that this join owns. Clear it when the
    assignment changes and when a transaction fails.
    """

    def __init__(self, limit: int = CACHED_PHONES) -> None:
        self._half = max(1, limit // 2)
        self._young: dict[str, tuple[AnswerCandidate, ...]] = {}
        self._old: dict[str, tuple[AnswerCandidate, ...]] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def clear(self) -> None:
        self._young, self._old = {}, {}

    def get(self, phone: str) -> tuple[AnswerCandidate, ...] | None:
        """The phone's candidates; None if the cache does not have the phone."""
        found = self._young.get(phone)
        if found is None:
            found = self._old.pop(phone, None)
            if found is not None:
                self._put(phone, found)
        return found

    def put_all(self, candidates: Mapping[str, tuple[AnswerCandidate, ...]]) -> None:
        """Stores the candidates that SQL has of these phones."""
        for phone, found in candidates.items():
            self._put(phone, found)

    def add(self, phone: str, candidate: AnswerCandidate) -> None:
        """Appends a new result of a phone, if the cache has the phone."""
        found = self.get(phone)
        if found is not None:
            self._put(phone, (*found, candidate))

    def forget(self, phone: str) -> None:
        self._young.pop(phone, None)
        self._old.pop(phone, None)

    def _put(self, phone: str, candidates: tuple[AnswerCandidate, ...]) -> None:
        self._young[phone] = candidates
        if len(self._young) > self._half:
            self._young, self._old = {}, self._young

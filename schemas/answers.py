"""Decides which result answers a row: one rule for worker, gate and join."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from schemas.lookups import Outcome


@dataclass(frozen=True, slots=True)
class Want:
    """What an upload asks of a result for one of its phones."""

    upload_id: str
    round: int
    accept_since: datetime
    cancelled_at: datetime | None = None


class Named(Protocol):
    @property
    def upload_id(self) -> str: ...
    @property
    def round(self) -> int: ...


class Candidate(Protocol):
    """The fields of a result that the rule reads."""

    @property
    def outcome(self) -> Outcome: ...
    @property
    def looked_up_at(self) -> datetime: ...
    @property
    def answers(self) -> Iterable[Named]: ...


C = TypeVar("C", bound=Candidate)


def is_fresh(looked_up_at: datetime, *, accept_since: datetime, cancelled_at: datetime | None = None) -> bool:
    """Whether data that is not a failure may be reused by an upload that its result does not name."""
    if cancelled_at is not None and looked_up_at > cancelled_at:
        return False
    return looked_up_at >= accept_since


def answers(result: Candidate, want: Want) -> bool:
    """Whether the result settles the rows of `want`.

    A failure answers only uploads it names, with a round not below theirs: failures are never reused. Anything else
    answers the uploads it names, and all for which it is fresh enough.
    """
    if result.outcome == "failed":
        return any(named.upload_id == want.upload_id and named.round >= want.round for named in result.answers)
    if any(named.upload_id == want.upload_id for named in result.answers):
        return True
    return is_fresh(result.looked_up_at, accept_since=want.accept_since, cancelled_at=want.cancelled_at)


def first_answer(results_in_log_order: Iterable[C], want: Want) -> C | None:
    """The result that stands for `want`: data beats a failure, else the first in the log."""
    failure: C | None = None
    for result in results_in_log_order:
        if not answers(result, want):
            continue
        if result.outcome != "failed":
            return result
        failure = failure or result
    return failure

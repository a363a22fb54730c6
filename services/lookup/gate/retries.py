"""Decides after a failed attempt whether and when the phone is tried again, and keeps its attempts' costs. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from schemas.lookups import AttemptError, LookupRetry, PaidCalls
from services.lookup.providers.protocol import LONGEST_RETRY_AFTER_SECONDS

FIRST_DELAY_SECONDS = 1.0
LONGEST_DELAY_SECONDS = 60.0
KEPT_ERRORS = 20
MOST_PAYERS = 100
"""If more uploads have paid for a phone's attempts, their calls are accounted for before the phone has its result."""


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Try again, not before `at`."""

    at: datetime


@dataclass(frozen=True, slots=True)
class GiveUp:
    """That was the last attempt: write a dead letter, and a failure for the uploads that wait."""


Decision = RetryAt | GiveUp


@dataclass(frozen=True, slots=True)
class History:
    """A phone's attempts so far. `attempts` is the number of those that count. `calls` holds every paid call."""

    attempts: int = 0
    retry_at: datetime | None = None
    errors: tuple[AttemptError, ...] = ()
    calls: tuple[PaidCalls, ...] = ()

    def paid_by(self, upload_id: str) -> "History":
        """Adds a call that was made on this upload's turn."""
        paid = {each.upload_id: each.calls for each in self.calls}
        paid[upload_id] = paid.get(upload_id, 0) + 1
        return replace(self, calls=tuple(PaidCalls(upload_id=who, calls=n) for who, n in paid.items()))

    def failed(self, error: AttemptError, *, counts: bool) -> "History":
        """Adds a failure. Keeps the first error and the latest ones."""
        errors = (*self.errors, error)
        if len(errors) > KEPT_ERRORS:
            errors = (errors[0], *errors[-KEPT_ERRORS + 1 :])
        return replace(self, attempts=self.attempts + counts, errors=errors)

    def forgiven(self, attempts: int) -> "History":
        """Takes back so many attempts: the provider was the cause of their failures."""
        return replace(self, attempts=max(0, self.attempts - attempts))

    @property
    def has_many_payers(self) -> bool:
        return len(self.calls) > MOST_PAYERS

    def accounted(self) -> "History":
        """Leaves out the calls, because a result accounts for them already."""
        return replace(self, calls=())

    @property
    def last_error_at(self) -> datetime | None:
        return self.errors[-1].at if self.errors else None

    def until(self, retry_at: datetime) -> "History":
        return replace(self, retry_at=retry_at)

    def to_retry(self, phone: str) -> LookupRetry:
        """The message with which another gate can continue."""
        assert self.retry_at is not None, "only a phone that is tried again has a retry"
        return LookupRetry(
            phone=phone, attempts=self.attempts, retry_at=self.retry_at, errors=self.errors, calls=self.calls
        )

    @staticmethod
    def of(retry: LookupRetry) -> "History":
        return History(attempts=retry.attempts, retry_at=retry.retry_at, errors=retry.errors, calls=retry.calls)


NEW = History()


def decide(
    history: History,
    *,
    now: datetime,
    max_attempts: int,
    jitter: float,
    retry_after_seconds: float | None,
    at_least_seconds: float = 0.0,
) -> Decision:
    """The decision after the last failure in `history`. `jitter` is a random number in [0, 1)."""
    if history.attempts >= max_attempts:
        return GiveUp()
    delay = max(at_least_seconds, backoff_seconds(history.attempts, jitter))
    if retry_after_seconds is not None:
        delay = max(delay, min(retry_after_seconds, LONGEST_RETRY_AFTER_SECONDS))
    return RetryAt(now + timedelta(seconds=delay))


def backoff_seconds(attempts: int, jitter: float) -> float:
    """Doubles with each attempt up to a minute. The upper half is random, which spreads simultaneous failures."""
    exponent = min(max(0, attempts - 1), 16)
    longest = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0**exponent)
    return longest * (0.5 + jitter / 2)

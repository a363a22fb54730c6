"""Composes what is written about a call that ended: results, a dead letter. Each fits a record, whoever waits. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas import topics
from schemas.answers import is_fresh
from schemas.lookups import (
    Answered,
    AttemptError,
    DeadLetter,
    LookupResult,
    LookupRetry,
    Outcome,
    PhoneData,
)
from schemas.values import AHEAD
from services.lookup.gate.lanes import Ask, Entry
from services.lookup.gate.retries import History

MOST_ANSWERS = 2_000
"""Uploads that one result names: 150 kB, a sixth of what a record holds."""
MOST_LETTER_REQUESTS = 100
"""Requests that a dead letter repeats; each holds an owner of up to 1.2 kB."""
_LONGEST_AHEAD = AHEAD - timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Records:
    """What has to be written, in this order: dead letter, results; then, once those are acknowledged, retries.

    `forget_retry`: the phone's retry ends with a tombstone after the results. `ends_call`: with the last result the
    phone, if anybody still wants it, waits again.
    """

    phone: str
    dead_letter: DeadLetter | None = None
    results: tuple[LookupResult, ...] = ()
    retries: tuple[LookupRetry, ...] = ()
    forget_retry: bool = False
    ends_call: bool = True

    @property
    def result(self) -> LookupResult | None:
        """The first result: that with the calls."""
        return self.results[0] if self.results else None


@dataclass(frozen=True, slots=True)
class Told:
    """What the provider said: its data, or that the phone is none, or nothing (`failed`)."""

    outcome: Outcome
    data: PhoneData | None = None


FAILED = Told("failed")


def results_of(
    phone: str, history: History, told: Told, now: datetime, *, asks: tuple[Ask, ...], provider: str
) -> tuple[LookupResult, ...]:
    """The results that settle `asks`, and account for all calls in `history`, each call once.

    A failure answers only whom it names, so it is written in parts. Data answers by its time all who take an answer
    that old, and one result is enough: it names first whoever would not take it otherwise.
    """
    # Clocks may be skewed: an answer is never older than the question that it settles, and never further ahead of its
    # record than a reader takes.
    newest = max([now, *(ask.wanted_at for ask in asks)])
    looked_up_at = min(newest, now + _LONGEST_AHEAD)
    if told.outcome == "failed":
        parts = [asks[at : at + MOST_ANSWERS] for at in range(0, len(asks), MOST_ANSWERS)] or [()]
    else:
        parts = [_named_first(asks, looked_up_at)[:MOST_ANSWERS]]
    return tuple(
        LookupResult(
            phone=phone,
            outcome=told.outcome,
            data=told.data,
            provider=provider,
            looked_up_at=looked_up_at,
            attempts=history.attempts + (told.outcome != "failed"),
            error=history.errors[-1] if told.outcome == "failed" and history.errors else None,
            answers=tuple(Answered(upload_id=ask.upload_id, round=ask.round) for ask in part),
            calls=() if number else history.calls,
        )
        for number, part in enumerate(parts)
    )


def _named_first(asks: tuple[Ask, ...], looked_up_at: datetime) -> tuple[Ask, ...]:
    if len(asks) <= MOST_ANSWERS:
        return asks
    return tuple(sorted(asks, key=lambda ask: is_fresh(looked_up_at, accept_since=ask.accept_since)))


def dead_letter_of(entry: Entry, history: History, now: datetime) -> DeadLetter:
    """The phone's history, with the first of the requests that waited for it."""
    asks = entry.asks
    return DeadLetter(
        phone=entry.phone,
        requests=tuple(ask.request(entry.phone) for ask in asks[:MOST_LETTER_REQUESTS]),
        requests_total=len(asks),
        attempts=history.attempts,
        errors=history.errors,
        original_topic=topics.LOOKUP_REQUESTS.name,
        original_partition=0,
        original_offset=entry.offset,
        given_up_at=now,
    )


def shorter(letter: DeadLetter) -> DeadLetter | None:
    """The same letter with less in it, for a cluster that takes less than ours; None: there is nothing to leave out."""
    if letter.requests:
        return letter.model_copy(update={"requests": letter.requests[: len(letter.requests) // 2]})
    if len(letter.errors) > 1:
        return letter.model_copy(update={"errors": letter.errors[-1:]})
    return None


def shorter_results(result: LookupResult) -> tuple[LookupResult, ...]:
    """The same answers in two results, for a cluster that takes less than ours; none: it names at most one upload.

    The second names its half as well when data would answer it by its time alone.
    """
    middle = len(result.answers) // 2
    if not middle:
        return ()
    first = result.model_copy(update={"answers": result.answers[:middle]})
    second = result.model_copy(update={"answers": result.answers[middle:], "calls": ()})
    return first, second


def max_calls_error(cap: int | None, now: datetime) -> AttemptError:
    return AttemptError(
        error_class="wait",
        code="max_calls",
        detail=f"the upload had paid for all of its {cap} calls",
        at=now,
    )

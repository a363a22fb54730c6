"""Composes the messages that a call leads to: results, a dead letter, retries. Each fits into a record. Pure."""

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
"""Uploads that one result names: 150 kB, a sixth of the largest record."""
MOST_LETTER_REQUESTS = 100
"""Requests that a dead letter repeats. Each holds an owner of up to 1.2 kB."""
_LONGEST_AHEAD = AHEAD - timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """The messages to write, in this order: dead letter, results and, once Kafka has acknowledged these, retries.

    `forget_retry`: the phone's retry gets a tombstone after the results. `ends_call`: after the last result the phone
    waits again if an upload still wants it.
    """

    phone: str
    dead_letter: DeadLetter | None = None
    results: tuple[LookupResult, ...] = ()
    retries: tuple[LookupRetry, ...] = ()
    forget_retry: bool = False
    ends_call: bool = True

    @property
    def result(self) -> LookupResult | None:
        """The first result. It holds the paid calls."""
        return self.results[0] if self.results else None


@dataclass(frozen=True, slots=True)
class ProviderAnswer:
    """The provider's answer: `ok` with data, `not_valid`, or `failed` if there is none."""

    outcome: Outcome
    data: PhoneData | None = None


FAILED = ProviderAnswer("failed")


def results_of(
    phone: str, history: History, answer: ProviderAnswer, now: datetime, *, asks: tuple[Ask, ...], provider: str
) -> tuple[LookupResult, ...]:
    """The results that answer `asks` and account for each call in `history` once.

    A failure answers only the uploads that it names, so it is written in parts. Data also answers, by its time, each
    upload that accepts data of that age. One result is enough: it names those uploads first that would not accept it.
    """
    # Clocks may be skewed. An answer must not be older than the request that it answers, nor further ahead of its
    # record than a reader accepts.
    newest = max([now, *(ask.wanted_at for ask in asks)])
    looked_up_at = min(newest, now + _LONGEST_AHEAD)
    if answer.outcome == "failed":
        parts = [asks[at : at + MOST_ANSWERS] for at in range(0, len(asks), MOST_ANSWERS)] or [()]
    else:
        parts = [_named_first(asks, looked_up_at)[:MOST_ANSWERS]]
    return tuple(
        LookupResult(
            phone=phone,
            outcome=answer.outcome,
            data=answer.data,
            provider=provider,
            looked_up_at=looked_up_at,
            attempts=history.attempts + (answer.outcome != "failed"),
            error=history.errors[-1] if answer.outcome == "failed" and history.errors else None,
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
    """The same letter with fewer requests or errors, for a cluster with a lower limit. None: it cannot be shorter."""
    if letter.requests:
        return letter.model_copy(update={"requests": letter.requests[: len(letter.requests) // 2]})
    if len(letter.errors) > 1:
        return letter.model_copy(update={"errors": letter.errors[-1:]})
    return None


def shorter_results(result: LookupResult) -> tuple[LookupResult, ...]:
    """The same answers in two results, for a cluster with a lower limit. Empty: the result names at most one upload.

    The second result names its uploads even if its data would answer them by its time alone.
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

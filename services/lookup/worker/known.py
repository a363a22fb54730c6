"""Decides what the table `phones` keeps of a phone's results: its newest data, and whose requests failed. Pure.

Between two erasures it is a function of the set of results, not of the order in which they are read, or how often.
"""

from collections.abc import Iterable
from enum import Enum
from typing import Annotated, Final, NamedTuple

from pydantic import Field

from schemas.base import Message
from schemas.codec import UndecodableRecord, decode
from schemas.lookups import LookupResult, Outcome, parse_result_key
from schemas.values import EARLIEST, BoundedTime, Round, UploadId, Version

MOST_FAILURES: Final = 20


class Failure(NamedTuple):
    """An upload whose requests for the phone failed, up to this round; when the newest result said so.

    `recorded_ms`: that result's Kafka timestamp, milliseconds since 1970.
    """

    upload_id: UploadId
    round: Round
    recorded_ms: Version


class KnownPhone(Message):
    """The table's value: when a phone was last looked up with success, what came of it, and its last failures.

    `outcome` is `failed` while nothing but failures is known; `looked_up_at` is 1970 then, so that a worker of before
    takes the phone for unknown. `failures` has the newest last; a value without them is older.
    """

    looked_up_at: BoundedTime
    outcome: Outcome
    failures: Annotated[tuple[Failure, ...], Field(max_length=MOST_FAILURES)] = ()

    @property
    def has_data(self) -> bool:
        return self.outcome != "failed"


class Erasure(Enum):
    """What a record without a value takes from the table."""

    EVERYTHING = "everything"
    FAILURES = "failures"


News = KnownPhone | Erasure
"""What one record of `lookup-results` says of its phone."""


def news_of(key: bytes | None, value: bytes | None, *, timestamp_ms: int) -> tuple[str, News | None]:
    """The phone that a record of `lookup-results` is about, and what it says; None: nothing that is kept.

    Raises:
        UndecodableRecord: the value is no result, or there is none and the key is not that of a result.
    """
    if value is None:
        return _erased(key)
    result = decode(LookupResult, value, timestamp_ms=timestamp_ms)
    return result.phone, worth_remembering(result, recorded_ms=max(0, timestamp_ms))


def worth_remembering(result: LookupResult, *, recorded_ms: int) -> KnownPhone | None:
    """What one result alone says; None for a failure that names nobody: it only accounts for calls."""
    if result.outcome != "failed":
        return KnownPhone(looked_up_at=result.looked_up_at, outcome=result.outcome)
    if not result.answers:
        return None
    named = (Failure(answered.upload_id, answered.round, recorded_ms) for answered in result.answers)
    return KnownPhone(looked_up_at=EARLIEST, outcome="failed", failures=_newest(named))


def with_news(known: KnownPhone | None, news: News) -> KnownPhone | None:
    """What is known of a phone after one more record; None: nothing."""
    if news is Erasure.EVERYTHING:
        return None
    if news is Erasure.FAILURES:
        return known.model_copy(update={"failures": ()}) if known is not None and known.has_data else None
    if known is None:
        return news
    data = max((known, news), key=lambda each: (each.has_data, each.looked_up_at, each.outcome))
    failures = (*known.failures, *news.failures)
    if failures == data.failures:
        return data
    return KnownPhone(looked_up_at=data.looked_up_at, outcome=data.outcome, failures=_newest(failures))


def _newest(failures: Iterable[Failure]) -> tuple[Failure, ...]:
    """One for each upload, the newest last, at most `MOST_FAILURES`."""
    by_upload: dict[str, Failure] = {}
    for each in failures:
        other = by_upload.get(each.upload_id, each)
        merged = Failure(each.upload_id, max(each.round, other.round), max(each.recorded_ms, other.recorded_ms))
        by_upload[each.upload_id] = merged
    return tuple(sorted(by_upload.values(), key=lambda each: (each.recorded_ms, each.upload_id))[-MOST_FAILURES:])


def _erased(key: bytes | None) -> tuple[str, Erasure]:
    about = parse_result_key(key)
    if about is None:
        raise UndecodableRecord("a LookupResult was expected, the record has no value and its key no phone")
    return about.phone, Erasure.FAILURES if about.is_failure else Erasure.EVERYTHING

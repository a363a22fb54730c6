"""Decides what the table `phones` keeps of a phone's results: its newest data, and the uploads whose requests failed.

Between two erasures, the outcome depends only on the set of results, not on their order or repetition. Pure.
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
    """An upload whose requests for the phone failed, up to and including this round.

    `recorded_ms`: the Kafka timestamp of the newest such result, in milliseconds since 1970.
    """

    upload_id: UploadId
    round: Round
    recorded_ms: Version


class KnownPhone(Message):
    """The value of the table: the time and outcome of a phone's last successful lookup, and its last failures.

    `outcome` is `failed` while only failures are known. Then `looked_up_at` is 1970, so that a worker of an older
    version treats the phone as unknown. `failures` has the newest last. Values of older versions have none.
    """

    looked_up_at: BoundedTime
    outcome: Outcome
    failures: Annotated[tuple[Failure, ...], Field(max_length=MOST_FAILURES)] = ()

    @property
    def has_data(self) -> bool:
        return self.outcome != "failed"


class Erasure(Enum):
    """The part of a phone's value that a record without a value erases."""

    EVERYTHING = "everything"
    FAILURES = "failures"


PhoneUpdate = KnownPhone | Erasure
"""The change that one record of `lookup-results` makes to its phone."""


def update_of(key: bytes | None, value: bytes | None, *, timestamp_ms: int) -> tuple[str, PhoneUpdate | None]:
    """The phone of a record of `lookup-results`, and the change that it makes. None: it changes nothing.

    Raises:
        UndecodableRecord: the value is no result, or there is no value and the key is not that of a result.
    """
    if value is None:
        return _erased(key)
    result = decode(LookupResult, value, timestamp_ms=timestamp_ms)
    return result.phone, worth_remembering(result, recorded_ms=max(0, timestamp_ms))


def worth_remembering(result: LookupResult, *, recorded_ms: int) -> KnownPhone | None:
    """The change by one result. None: the result is a failure that names no upload and only accounts for calls."""
    if result.outcome != "failed":
        return KnownPhone(looked_up_at=result.looked_up_at, outcome=result.outcome)
    if not result.answers:
        return None
    named = (Failure(answered.upload_id, answered.round, recorded_ms) for answered in result.answers)
    return KnownPhone(looked_up_at=EARLIEST, outcome="failed", failures=_newest(named))


def updated(known: KnownPhone | None, update: PhoneUpdate) -> KnownPhone | None:
    """The value of a phone after one more update. None: nothing is known of the phone."""
    if update is Erasure.EVERYTHING:
        return None
    if update is Erasure.FAILURES:
        return known.model_copy(update={"failures": ()}) if known is not None and known.has_data else None
    if known is None:
        return update
    data = max((known, update), key=lambda each: (each.has_data, each.looked_up_at, each.outcome))
    failures = (*known.failures, *update.failures)
    if failures == data.failures:
        return data
    return KnownPhone(looked_up_at=data.looked_up_at, outcome=data.outcome, failures=_newest(failures))


def _newest(failures: Iterable[Failure]) -> tuple[Failure, ...]:
    """One failure for each upload, the newest last; at most `MOST_FAILURES`."""
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

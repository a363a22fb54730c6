"""Turns what the gate has to say into records: topic, key, partition, headers. Pure."""

from collections.abc import Iterable

from schemas import topics
from schemas.codec import encode
from schemas.lookups import DeadLetter, LookupResult, LookupRetry, failure_key
from schemas.rows import BadRecord
from services.lookup.gate.outgoing import Outgoing


def result_record(result: LookupResult) -> Outgoing:
    """A failure has a key of its own, so that it never replaces data, on the partition of the phone's other records."""
    return Outgoing(topics.LOOKUP_RESULTS, result.key, encode(result), partition_key=result.phone)


def erasing_records(phone: str) -> list[Outgoing]:
    """What erases all that is known of a phone."""
    keys = (phone, failure_key(phone))
    return [Outgoing(topics.LOOKUP_RESULTS, key, None, partition_key=phone) for key in keys]


def retry_record(retry: LookupRetry) -> Outgoing:
    return Outgoing(topics.LOOKUP_RETRIES, retry.phone, encode(retry))


def forget_retry_record(phone: str) -> Outgoing:
    return Outgoing(topics.LOOKUP_RETRIES, phone, None)


def tombstones(request_keys: Iterable[str]) -> list[Outgoing]:
    return [Outgoing(topics.LOOKUP_REQUESTS, key, None) for key in request_keys]


def bad_record(record: BadRecord) -> Outgoing:
    return Outgoing(topics.BAD_RECORDS, f"{record.topic}-{record.partition}-{record.offset}", encode(record))


def dead_letter_record(letter: DeadLetter) -> Outgoing:
    """The coordinates and the first and last error are in the headers too, for tools that do not read the value."""
    first, last = letter.errors[0], letter.errors[-1]
    headers = {
        "original-topic": letter.original_topic,
        "original-partition": str(letter.original_partition),
        "original-offset": str(letter.original_offset),
        "attempts": str(letter.attempts),
        "first-error": f"{first.code}: {first.detail}",
        "first-error-at": first.at.isoformat(),
        "last-error": f"{last.code}: {last.detail}",
        "last-error-at": last.at.isoformat(),
    }
    return Outgoing(
        topics.LOOKUP_DEAD_LETTERS,
        letter.phone,
        encode(letter),
        headers=tuple((name, text.encode()) for name, text in headers.items()),
    )

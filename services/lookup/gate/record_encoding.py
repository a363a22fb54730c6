"""Encodes the gate's messages as records: topic, key, partition, headers. Pure."""

from collections.abc import Iterable

from schemas import topics
from schemas.codec import encode
from schemas.lookups import DeadLetter, LookupResult, LookupRetry, failure_key
from schemas.rows import BadRecord
from services.lookup.gate.outgoing import OutgoingRecord


def result_record(result: LookupResult) -> OutgoingRecord:
    """A failure has its own key, so that it never replaces data. Its partition is that of the phone's other records."""
    return OutgoingRecord(topics.LOOKUP_RESULTS, result.key, encode(result), partition_key=result.phone)


def erasing_records(phone: str) -> list[OutgoingRecord]:
    """The tombstones that erase all results of a phone."""
    keys = (phone, failure_key(phone))
    return [OutgoingRecord(topics.LOOKUP_RESULTS, key, None, partition_key=phone) for key in keys]


def retry_record(retry: LookupRetry) -> OutgoingRecord:
    return OutgoingRecord(topics.LOOKUP_RETRIES, retry.phone, encode(retry))


def forget_retry_record(phone: str) -> OutgoingRecord:
    return OutgoingRecord(topics.LOOKUP_RETRIES, phone, None)


def tombstones(request_keys: Iterable[str]) -> list[OutgoingRecord]:
    return [OutgoingRecord(topics.LOOKUP_REQUESTS, key, None) for key in request_keys]


def bad_record(record: BadRecord) -> OutgoingRecord:
    return OutgoingRecord(topics.BAD_RECORDS, f"{record.topic}-{record.partition}-{record.offset}", encode(record))


def dead_letter_record(letter: DeadLetter) -> OutgoingRecord:
    """The headers repeat the coordinates and the first and last error, for tools that do not read the value."""
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
    return OutgoingRecord(
        topics.LOOKUP_DEAD_LETTERS,
        letter.phone,
        encode(letter),
        headers=tuple((name, text.encode()) for name, text in headers.items()),
    )

"""Defines an adapter to a lookup API: it builds a request from a phone, and reads a reply from a response. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Protocol

from schemas.lookups import PhoneData

MAX_BODY_BYTES = 64 * 1024
LONGEST_RETRY_AFTER_SECONDS = 3600.0
"""A provider may ask for a longer pause than our own backoff, but for an hour at most."""
_LONGEST_DATE = 64


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request. `url` is complete. It holds the phone, so it must not be logged."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A complete response of at most `MAX_BODY_BYTES`. The names in `headers` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Found:
    """The provider knows the phone."""

    data: PhoneData


@dataclass(frozen=True, slots=True)
class NotValid:
    """The provider says that this is not a phone number. That is a result like any other."""


@dataclass(frozen=True, slots=True)
class Wait:
    """There is no answer now; a later call may have one. `detail` never holds the phone. `throttled`: slow down."""

    code: str
    detail: str
    throttled: bool = False
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class AccountProblem:
    """The provider refuses *our account*: its key, permission or credit. No phone is the cause."""

    code: str
    detail: str


Reply = Found | NotValid | Wait | AccountProblem


class Provider(Protocol):
    """An adapter. It makes no call itself, keeps no state and reads no clock."""

    def build_request(self, phone: str) -> HttpRequest:
        """The one request that looks up `phone` (E.164)."""

    def read_response(self, phone: str, response: HttpResponse) -> Reply:
        """The reply about `phone` in the response. Never raises.

        A response that is not of the provider's shape is a `Wait`. So is an answer that names another phone
        (`wrong_phone`).
        """


class MakeProvider(Protocol):
    """The signature of `make`, the function of each adapter's module."""

    def __call__(self, *, url: str, key: str | None) -> Provider:
        """The adapter to the API at `url` (`SCRUB_LOOKUP_URL`), with the credential `key`."""


def reply_to_status(response: HttpResponse) -> Wait | AccountProblem | None:
    """The reply that the status alone decides, the same for all HTTP APIs. None: read the body.

    401, 402 and 403 are about the account. 429 asks to slow down. Any other status except 200 may be temporary. A
    compressed body is not read: it was not asked for, and may unpack into a huge one.
    """
    status = response.status
    if status == 200:
        return Wait("encoded", "the provider's answer is compressed") if _is_encoded(response) else None
    if status in (401, 402, 403):
        return AccountProblem(f"http_{status}", f"the provider refused our account with status {status}")
    retry_after = retry_after_seconds(response)
    if status == 429:
        return Wait("throttled", "the provider asked us to slow down (status 429)", True, retry_after)
    return Wait(f"http_{status}", f"the provider answered with status {status}", False, retry_after)


def _is_encoded(response: HttpResponse) -> bool:
    encodings = response.headers.get("content-encoding", "").lower().split(",")
    return any(encoding.strip() not in ("", "identity") for encoding in encodings)


def retry_after_seconds(response: HttpResponse) -> float | None:
    """`Retry-After`, given as seconds or as a date (RFC 9110, section 10.2.3), at most an hour. None: not readable."""
    text = response.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_RETRY_AFTER_SECONDS)
    if not text.isascii() or len(text) > _LONGEST_DATE:
        return None
    try:
        until = parsedate_to_datetime(text)
        if until.tzinfo is None:
            until = until.replace(tzinfo=UTC)
        seconds = (until - response.received_at).total_seconds()
    except (ValueError, TypeError, OverflowError, IndexError):
        # The parser of the standard library raises each of these for some text.
        return None
    return max(0.0, min(seconds, LONGEST_RETRY_AFTER_SECONDS))

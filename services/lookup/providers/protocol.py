"""What a lookup API has to offer to be called: a request built from a phone, and a reply read from a response. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Protocol

from schemas.lookups import PhoneData

MAX_BODY_BYTES = 64 * 1024
LONGEST_RETRY_AFTER_SECONDS = 3600.0
"""A provider may ask for more patience than our own backoff, but not for more than an hour."""
_LONGEST_DATE = 64


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request. `url` is complete and holds the phone: it must not be logged."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A whole response, at most `MAX_BODY_BYTES` long. `headers` has lower-case names."""

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
    """The provider says that this is no phone number: a result like any other."""


@dataclass(frozen=True, slots=True)
class Wait:
    """No answer now, perhaps later. `detail` never holds the phone. `throttled`: we were told to slow down."""

    code: str
    detail: str
    throttled: bool = False
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class AccountProblem:
    """The provider refuses *us*: key, permission or credit. No phone is to blame."""

    code: str
    detail: str


Reply = Found | NotValid | Wait | AccountProblem


class Provider(Protocol):
    """An adapter. It makes no call itself, keeps no state and knows no clock."""

    @property
    def name(self) -> str:
        """Written into each result."""

    def build_request(self, phone: str) -> HttpRequest:
        """The one request that looks up `phone` (E.164)."""

    def read_response(self, phone: str, response: HttpResponse) -> Reply:
        """What the response says of `phone`. Never raises.

        Anything that is not of the provider's shape is a `Wait`, and so is an answer that names another phone
        (`wrong_phone`).
        """


def reply_to_status(response: HttpResponse) -> Wait | AccountProblem | None:
    """What a status alone says, alike for all HTTP APIs; None: read the body.

    401, 402 and 403 are about the account; 429 asks to slow down; all else but 200 may pass. A body that is encoded
    although it was asked for as it is may unpack into anything, and is not read.
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
    """`Retry-After` in seconds or as a date (RFC 9110, section 10.2.3), at most an hour; None: none can be read."""
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
        # The standard library's parser lets each of these out for some text.
        return None
    return max(0.0, min(seconds, LONGEST_RETRY_AFTER_SECONDS))

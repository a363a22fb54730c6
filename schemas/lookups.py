"""Owns the messages around one lookup: request, retry, result, dead letter, the gate's status and command."""

import re
from typing import Final, Literal, NamedTuple

from schemas.base import Message
from schemas.values import (
    MAX_INT32,
    PHONE_PATTERN,
    UPLOAD_ID_PATTERN,
    Count,
    Moment,
    Offset,
    Owner,
    PartitionNumber,
    Phone,
    Priority,
    Quantity,
    Round,
    Sentence,
    Share,
    Token,
    UploadId,
    Word,
)

Outcome = Literal["ok", "not_valid", "failed"]
Tristate = Literal["yes", "no", "unknown"]
LineType = Literal["mobile", "landline", "voip", "toll_free", "premium", "shared_cost", "pager", "other", "unknown"]
Verdict = Literal["ok", "do_not_call", "unreachable", "not_valid", "unknown"]
ErrorClass = Literal["wait", "bad_number", "account"]
GateState = Literal["running", "paused", "account_problem", "provider_down", "throttled", "no_gate"]


class PhoneData(Message):
    """The provider's data about a phone, in one shape for all providers."""

    line_type: LineType = "unknown"
    carrier: Word | None = None
    country: Word | None = None
    reachable: Tristate = "unknown"
    do_not_call: Tristate = "unknown"


# Beside `PhoneData`, so that a new column is added to both. The fields are in the order of the interface.
class RowResult(Message):
    outcome: Outcome
    verdict: Verdict | None
    line_type: LineType | None
    carrier: str | None
    country: str | None
    reachable: Tristate | None
    do_not_call: Tristate | None
    provider: str
    looked_up_at: Moment
    attempts: int


class AttemptError(Message):
    """Why an attempt did not yield data. `detail` never holds the phone."""

    error_class: ErrorClass
    code: Token
    detail: Sentence
    at: Moment


class LookupRequest(Message):
    """An unknown phone that an upload wants. Key `phone:upload:round`; a null value is its tombstone."""

    phone: Phone
    upload_id: UploadId
    round: Round
    owner: Owner
    priority: Priority
    wanted_at: Moment
    accept_since: Moment

    @property
    def key(self) -> str:
        return request_key(self.phone, self.upload_id, self.round)


def request_key(phone: str, upload_id: str, round_: int) -> str:
    """The key of a request on `lookup-requests`."""
    return f"{phone}:{upload_id}:{round_}"


_REQUEST_KEY: Final = re.compile(f"({PHONE_PATTERN[1:-1]}):({UPLOAD_ID_PATTERN[1:-1]}):(0|[1-9][0-9]{{0,9}})")


class RequestKey(NamedTuple):
    """What the key of a request says."""

    phone: str
    upload_id: str
    round: int


def parse_request_key(key: str) -> RequestKey | None:
    """The inverse of `request_key`; None: it never made such a key."""
    match = _REQUEST_KEY.fullmatch(key)
    if match is None or int(match[3]) > MAX_INT32:
        return None
    return RequestKey(match[1], match[2], int(match[3]))


class Answered(Message):
    """An upload and round whose request a result settled."""

    upload_id: UploadId
    round: Round


class PaidCalls(Message):
    """How many of a result's calls an upload paid for. Over all results the sum is the API's own count."""

    upload_id: UploadId
    calls: Count


class LookupResult(Message):
    """What is known of a phone after its lookup.

    Key: the phone; a failure's is `phone|failed`, on the phone's partition. A null value erases the phone.
    A `failed` result with no `answers` only accounts for calls whose requests were withdrawn.
    """

    phone: Phone
    outcome: Outcome
    data: PhoneData | None = None
    provider: Token
    looked_up_at: Moment
    attempts: Count
    error: AttemptError | None = None
    answers: tuple[Answered, ...] = ()
    calls: tuple[PaidCalls, ...] = ()

    @property
    def key(self) -> str:
        return failure_key(self.phone) if self.outcome == "failed" else self.phone


_FAILURE_END: Final = "|failed"
_RESULT_KEY: Final = re.compile(f"({PHONE_PATTERN[1:-1]})({re.escape(_FAILURE_END)})?")
_LONGEST_RESULT_KEY: Final = 16 + len(_FAILURE_END)


def failure_key(phone: str) -> str:
    """The key of a failure on `lookup-results`: it never replaces the phone's data."""
    return phone + _FAILURE_END


class ResultKey(NamedTuple):
    """What the key of a result says. `is_failure`: the record is about the phone's failure alone."""

    phone: str
    is_failure: bool


def parse_result_key(key: str | bytes | None) -> ResultKey | None:
    """The inverse of `LookupResult.key`; None: no result has such a key."""
    if key is None or len(key) > _LONGEST_RESULT_KEY:
        return None
    match = _RESULT_KEY.fullmatch(key.decode("ascii", "replace") if isinstance(key, bytes) else key)
    return None if match is None else ResultKey(match[1], match[2] is not None)


class LookupRetry(Message):
    """A phone in backoff. Key: the phone; null when it is settled."""

    phone: Phone
    attempts: Count
    retry_at: Moment
    errors: tuple[AttemptError, ...]
    calls: tuple[PaidCalls, ...]


class DeadLetter(Message):
    """A phone that was given up, with its history; headers repeat the coordinates.

    `requests` are the first of the `requests_total` that waited for the phone. None: an older gate's, with all of them.
    """

    phone: Phone
    requests: tuple[LookupRequest, ...]
    requests_total: Count | None = None
    attempts: Count
    errors: tuple[AttemptError, ...]
    original_topic: Word
    original_partition: PartitionNumber
    original_offset: Offset
    given_up_at: Moment


class LaneStatus(Message):
    """An upload in the gate's queue. `position` 1 is the next lane to be served.

    `calls` and `retries` are those that it has paid for since it first entered the queue. `backoff_until` is the time
    at which the last of its phones in backoff may be called again.
    """

    upload_id: UploadId
    owner: Owner
    pending: Count
    in_backoff: Count
    in_flight: Count
    position: Count
    share: Share
    calls: Count
    retries: Count
    why: Token
    oldest_wanted_at: Moment | None
    backoff_until: Moment | None = None


class NextCall(Message):
    """A call that is about to be made."""

    upload_id: UploadId
    phone_masked: Word


class LookupStatus(Message):
    """What the active gate holds and does. Key: the gate's partition.

    `folded_offset` is the next unread offset of `lookup-requests`. `retries` and `dead_letters` count on over changes
    of the active gate; a gate that is killed loses what it counted in its last half second.

    A record holds 1 MB, so its lists may be cut, and each says so. `lanes` are the first of `lanes_total` (None: an
    older gate's, which wrote at most 1,000). `held` names every upload for which the gate holds anything; if not
    `held_complete`, the gate may hold something for any other upload too. `capped` are the calls paid by each upload
    whose calls are capped; if not `capped_complete`, one that it does not name may have paid all of its calls.
    """

    instance: Token
    state: GateState
    at: Moment
    until: Moment | None = None
    limit_calls: Count
    limit_window_seconds: Quantity
    pace_per_second: Quantity
    used_last_window: Count
    calls_last_minute: Count
    pending: Count
    in_flight: Count
    in_backoff: Count
    retries: Count
    dead_letters: Count
    oldest_wanted_at: Moment | None
    folded_offset: Offset
    lanes: tuple[LaneStatus, ...]
    lanes_total: Count | None = None
    held: tuple[UploadId, ...] = ()
    held_complete: bool = False
    capped: tuple[PaidCalls, ...] = ()
    capped_complete: bool = True
    next: tuple[NextCall, ...]
    error: Sentence | None = None


class LookupCommand(Message):
    """The desired state of all calls. Key `lookups`."""

    paused: bool
    by: Owner
    at: Moment


def verdict_of(outcome: Outcome, data: PhoneData | None) -> Verdict | None:
    """The one word a person needs about a phone; None for a failure, of which nothing is known.

    A `do_not_call` outranks `unreachable`: calling it would be the worse mistake.
    """
    if outcome == "failed":
        return None
    if outcome == "not_valid":
        return "not_valid"
    if data is None:
        return "unknown"
    if data.do_not_call == "yes":
        return "do_not_call"
    if data.reachable == "no":
        return "unreachable"
    if data.reachable == "unknown" and data.do_not_call == "unknown":
        return "unknown"
    return "ok"

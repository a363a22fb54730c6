"""Decides what the simulated lookup API answers for a phone: a pure function of phone, seed and attempt.

Special numbers, for tests and demonstrations. All are fictional (555-01xx) and told by their area code:

    +1 931 555 01xx   never answered: the caller's time-out ends it      (logged as status 0)
    +1 934 555 01xx   always 500
    +1 936 555 01xx   always 429, with Retry-After: 1
    +1 937 555 01xx   always 401
    +1 938 555 01xx   200 with garbage: no JSON if xx is even, a body of 80 kB if it is odd
    +1 940 555 01xx   always not valid
    +1 941 555 01xx   the last digit is how many times it answers 500 before it succeeds
    +1 945 555 01xx   the connection is closed without an answer         (logged as status 0)

Of all other phones about 5 % are not valid. The rest have their line type, carrier, country and flags by a hash of
phone and seed; about one in ten leaves a field out, or sends null.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, Literal

import phonenumbers

Manner = Literal["answer", "silence", "hang_up"]
NOT_VALID_SHARE = 0.05
LINE_TYPES = (("mobile", 0.55), ("landline", 0.30), ("voip", 0.10), ("toll_free", 0.05))
CARRIERS = {
    "mobile": ("Northwind Wireless", "Contoso Mobile", "Fabrikam Cellular"),
    "landline": ("Litware Telephone", "Tailspin Telecom"),
    "voip": ("Proseware Voice", "Adatum Cloud Voice"),
    "toll_free": ("Wingtip Toll Free",),
}
_OPTIONAL_FIELDS = ("line_type", "carrier", "country", "reachable", "do_not_call")
_SPECIAL = re.compile(r"\+1(9\d\d)55501(\d\d)").fullmatch
_GARBAGE_BYTES = 80_000


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back. `status` 0 and no body when nothing does."""

    status: int
    body: bytes = b""
    manner: Manner = "answer"
    retry_after_seconds: int | None = None

    @property
    def content_type(self) -> str:
        return "application/json" if self.body.startswith(b"{") else "text/html"


def reply_to(phone: str, *, seed: int, attempt: int, fail_rate: float) -> Reply:
    """The reply to the `attempt`th lookup (from 1) of a phone; `fail_rate` is the share of attempts that answer 503."""
    special = _SPECIAL(phone)
    if special is not None:
        reply = _special_reply(phone, area=special[1], number=int(special[2]), attempt=attempt)
        if reply is not None:
            return reply
    if _share(phone, seed, f"fails {attempt}") < fail_rate:
        return _problem(503, "try again")
    return _success(phone, seed, surely_valid=special is not None)


def _special_reply(phone: str, *, area: str, number: int, attempt: int) -> Reply | None:
    fixed = {
        "931": Reply(0, manner="silence"),
        "934": _problem(500, "internal error"),
        "936": Reply(429, b'{"error":"too many requests"}', retry_after_seconds=1),
        "937": _problem(401, "unknown key"),
        "938": Reply(200, b"x" * _GARBAGE_BYTES if number % 2 else b"<html>It works!</html>"),
        "940": Reply(200, _json({"phone": phone, "valid": False})),
        "945": Reply(0, manner="hang_up"),
    }
    if area == "941" and attempt <= number % 10:
        return _problem(500, "internal error")
    return fixed.get(area)


def _success(phone: str, seed: int, *, surely_valid: bool) -> Reply:
    if not surely_valid and _share(phone, seed, "valid") < NOT_VALID_SHARE:
        return Reply(200, _json({"phone": phone, "valid": False}))
    fields = _fields(phone, seed)
    omitted = int(_share(phone, seed, "omitted") * 10 * len(_OPTIONAL_FIELDS))
    if omitted < len(_OPTIONAL_FIELDS):
        name = _OPTIONAL_FIELDS[omitted]
        if _share(phone, seed, "null") < 0.5:
            fields[name] = None
        else:
            del fields[name]
    return Reply(200, _json({"phone": phone, "valid": True, **fields}))


def _fields(phone: str, seed: int) -> dict[str, Any]:
    line_type = _line_type(_share(phone, seed, "line type"))
    carriers = CARRIERS[line_type]
    return {
        "line_type": line_type,
        "carrier": carriers[int(_share(phone, seed, "carrier") * len(carriers))],
        "country": _country(phone),
        "reachable": _share(phone, seed, "reachable") < 0.88,
        "do_not_call": _share(phone, seed, "do not call") < 0.08,
    }


def _line_type(share: float) -> str:
    for name, width in LINE_TYPES:
        share -= width
        if share < 0:
            return name
    return LINE_TYPES[-1][0]


def _country(phone: str) -> str | None:
    try:
        return phonenumbers.region_code_for_number(phonenumbers.parse(phone))
    except phonenumbers.NumberParseException:
        return None


def _share(phone: str, seed: int, purpose: str) -> float:
    """A number from 0 up to 1, evenly spread over phones, and the same each time."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{phone}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64


def _problem(status: int, reason: str) -> Reply:
    return Reply(status, _json({"error": reason}))


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()

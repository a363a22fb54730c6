"""Requests for the gate's tests: fictional phones, a fixed point in time."""

from datetime import UTC, datetime, timedelta

from schemas.lookups import LookupRequest
from tests.fixtures.ids import upload_id

NOW = datetime(2026, 1, 1, tzinfo=UTC)
_names: dict[str, str] = {}


def phone(number: int) -> str:
    """One of ten thousand numbers that nobody has (555-01xx)."""
    return f"+1{200 + number // 100:03d}5550{100 + number % 100}"


def id_of(upload: str) -> str:
    """The id of the upload that tests call `upload`; `name_of` is the inverse."""
    _names[upload_id(upload)] = upload
    return upload_id(upload)


def name_of(known_id: str) -> str:
    return _names[known_id]


def request(
    number: int,
    upload: str = "u1",
    *,
    round_: int = 0,
    owner: str = "owner-1",
    priority: int = 3,
    wanted_at: datetime = NOW,
    max_age: timedelta = timedelta(days=30),
) -> LookupRequest:
    """What the upload that tests call `upload` asks of a phone."""
    return LookupRequest(
        phone=phone(number),
        upload_id=id_of(upload),
        round=round_,
        owner=owner,
        priority=priority,
        wanted_at=wanted_at,
        accept_since=wanted_at - max_age,
    )

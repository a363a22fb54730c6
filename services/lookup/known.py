"""Decides which rows still need a lookup: what a row wants, against what the table `phones` remembers."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Protocol

from pydantic import Field

from schemas.answers import is_fresh
from schemas.base import Message
from schemas.lookups import LookupRequest, LookupResult, Outcome, request_key
from schemas.values import Moment


class WantedRow(Message):
    """The fields of an `UploadRow` that decide about its lookup; the others are left undecoded, which saves time."""

    upload_id: str
    row: int = Field(ge=1)
    round: int = Field(default=0, ge=0)
    phone: str = Field(pattern=r"^\+[1-9][0-9]{3,14}$")
    owner: str
    priority: int = Field(default=3, ge=1, le=5)
    wanted_at: Moment
    accept_since: Moment
    again: bool = False

    @property
    def key(self) -> str:
        return request_key(self.phone, self.upload_id, self.round)


class KnownPhone(Message):
    """The table's value: when a phone was last looked up with success, and what came of it."""

    looked_up_at: Moment
    outcome: Outcome


class SentBefore(Protocol):
    """A memory of request keys that Kafka has acknowledged."""

    def __contains__(self, key: str) -> bool: ...


def worth_remembering(result: LookupResult) -> KnownPhone | None:
    """What the table keeps of a result; None for a failure, which never answers another upload."""
    if result.outcome == "failed":
        return None
    return KnownPhone(looked_up_at=result.looked_up_at, outcome=result.outcome)


def is_answered(row: WantedRow, looked_up_at: datetime | None) -> bool:
    """Whether the remembered result of the row's phone answers it; the join has the same result and the same rule.

    A result that names the row's upload is never older than the upload's `wanted_at`, so freshness covers it.
    """
    return looked_up_at is not None and is_fresh(looked_up_at, accept_since=row.accept_since)


def requests_for(
    rows: Iterable[WantedRow], *, looked_up_at: Mapping[str, datetime], sent: SentBefore
) -> list[LookupRequest]:
    """One request for each distinct key among the rows that nothing answers yet.

    A key that was sent before is spared, unless a row says `again`: then its request was lost or its round is new.
    """
    requests: dict[str, LookupRequest] = {}
    for row in rows:
        if is_answered(row, looked_up_at.get(row.phone)):
            continue
        key = row.key
        if key in requests or (key in sent and not row.again):
            continue
        requests[key] = _request(row)
    return list(requests.values())


def _request(row: WantedRow) -> LookupRequest:
    return LookupRequest(
        phone=row.phone,
        upload_id=row.upload_id,
        round=row.round,
        owner=row.owner,
        priority=row.priority,
        wanted_at=row.wanted_at,
        accept_since=row.accept_since,
    )

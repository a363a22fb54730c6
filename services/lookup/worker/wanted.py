"""Decides which rows still need a lookup: what a row wants, against what is known of its phone. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple, Protocol

from schemas.answers import is_fresh
from schemas.lookups import LookupRequest, request_key
from schemas.rows import decode_row
from services.lookup.worker.known import KnownPhone


class WantedRow(NamedTuple):
    """What a row of `upload-rows` asks for. `published_ms`: its Kafka timestamp, milliseconds since 1970."""

    phone: str
    upload_id: str
    round: int
    owner: str
    priority: int
    wanted_at: datetime
    accept_since: datetime
    again: bool
    published_ms: int

    @property
    def key(self) -> str:
        return request_key(self.phone, self.upload_id, self.round)


class SentBefore(Protocol):
    """A memory of request keys that Kafka has acknowledged."""

    def __contains__(self, key: str) -> bool: ...


def wanted_row(value: bytes | None, *, timestamp_ms: int) -> WantedRow:
    """The row in a record's value: exactly the values that the join takes. Raises UndecodableRecord."""
    fields = decode_row(value, timestamp_ms=timestamp_ms)
    return WantedRow(
        fields["phone"],
        fields["upload_id"],
        fields.get("round", 0),
        fields["owner"],
        fields.get("priority", 3),
        fields["wanted_at"],
        fields["accept_since"],
        fields.get("again", False),
        timestamp_ms,
    )


def is_answered(row: WantedRow, known: KnownPhone | None) -> bool:
    """Whether what is known of the row's phone settles it; the join has the same results and the same rule.

    Data: a result that names the row's upload is never older than the upload's `wanted_at`, so freshness covers it.
    A failure: one that names the row's upload, with a round that is not below the row's. A row that says `again` and
    was published after that failure was recorded passes it: whoever published it has joined the failure, and the row
    waits all the same. Read once more, by a worker that begins anew, the row is older than what came of it.
    """
    if known is None:
        return False
    if known.has_data and is_fresh(known.looked_up_at, accept_since=row.accept_since):
        return True
    return any(
        failure.upload_id == row.upload_id
        and failure.round >= row.round
        and not (row.again and row.published_ms > failure.recorded_ms)
        for failure in known.failures
    )


def requests_for(
    rows: Iterable[WantedRow], *, known: Mapping[str, KnownPhone], sent: SentBefore
) -> list[LookupRequest]:
    """One request for each distinct key among the rows that nothing answers yet.

    A key that was sent before is spared, unless a row says `again`: then its request was lost or its round is new.
    """
    requests: dict[str, LookupRequest] = {}
    for row in rows:
        if is_answered(row, known.get(row.phone)):
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

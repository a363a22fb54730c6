"""Decides which rows still need a lookup: compares the terms of a row with what is known of its phone. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple, Protocol

from schemas.answers import is_fresh
from schemas.lookups import LookupRequest, request_key
from schemas.rows import decode_row
from services.lookup.worker.known_phones import KnownPhone


class WantedRow(NamedTuple):
    """The terms of a row of `upload-rows`. `published_ms`: its Kafka timestamp, in milliseconds since 1970."""

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
    """The request keys that Kafka has acknowledged, as far as they are remembered."""

    def __contains__(self, key: str) -> bool: ...


def wanted_row(value: bytes | None, *, timestamp_ms: int) -> WantedRow:
    """Decodes a record's value. Accepts exactly the values that the join accepts. Raises UndecodableRecord."""
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
    """Whether the known results of the row's phone answer the row. The join has the same results and the same rule.

    Data answers the row if it is fresh. A result that names the row's upload is never older than the upload's
    `wanted_at`, so this includes it. A failure answers the row if it names the row's upload with the row's round or a
    later one.

    A row with `again` that was published after the failure was recorded is an exception: the join published it after
    it had processed the failure, and the row still waits. When a restarted worker reads that row again, the row is
    older than the failure of its new request.
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
    """One request for each distinct key among the rows that are not answered yet.

    A key that was sent before is left out unless its row has `again`: then its request was lost, or its round is new.
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

"""Decides which uploads have waiting rows that no part will look up, and which lack rows that will not come; pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from schemas.interface import Sweep
from schemas.lookups import LookupStatus
from services.assembler.domain.positions import Offsets
from services.assembler.domain.stored import StoredUpload

PATIENCE = timedelta(seconds=10)
"""The producer of another system may announce its end before Kafka has all its rows."""
OLD_MOST_LANES = 1_000
"""The most lanes that an older gate listed."""


def zombie_uploads(
    before: Iterable[StoredUpload], after: Iterable[StoredUpload], status: LookupStatus
) -> list[StoredUpload]:
    """Uploads whose waiting rows are all zombies.

    `before` is read first. Then the worker has read all rows, the gate of `status` has folded all its requests, and
    all results up to then are joined. Then `after` is read. An upload that got rows in between is left for the next
    sweep. An upload for which the gate holds phones, or may hold some, has no zombies.
    """
    held = uploads_held(status)
    if held is None:
        return []
    stored_before = {upload.id: (upload.stored_rows, upload.round) for upload in before}
    return [
        upload
        for upload in after
        if upload.waiting
        and upload.id not in held
        and stored_before.get(upload.id) == (upload.stored_rows, upload.round)
    ]


def uploads_held(status: LookupStatus) -> frozenset[str] | None:
    """Uploads for which the gate holds phones; None if its lists were cut, so that any upload may be one."""
    if status.held_complete:
        return frozenset(status.held)
    listed, total = len(status.lanes), status.lanes_total
    if listed >= OLD_MOST_LANES if total is None else listed < total:
        return None
    return frozenset(lane.upload_id for lane in status.lanes if lane.pending or lane.in_flight or lane.in_backoff)


def lacking_for_good(
    before: Iterable[StoredUpload], after: Iterable[StoredUpload], *, now: datetime
) -> list[StoredUpload]:
    """Uploads that lack rows although all records are joined that the logs held when `before` was read."""
    patient = {upload.id for upload in before if upload.fed_at is not None and now - upload.fed_at >= PATIENCE}
    return [upload for upload in after if upload.id in patient]


def joined_up_to(fences: Mapping[int, Offsets], ends: Mapping[int, int], topic: str) -> bool:
    """Whether a topic (its name in `Offsets`) has been joined up to these ends, by partition number."""
    return all(getattr(fences.get(partition, Offsets()), topic) >= end for partition, end in ends.items())


def figures(before: Iterable[StoredUpload], after: Mapping[str, StoredUpload], *, republished: int) -> Sweep:
    """The figures of a sweep: rows that waited, were published again, and were answered or failed meanwhile."""
    examined = completed = failed = 0
    for upload in before:
        examined += upload.waiting
        now = after.get(upload.id, upload)
        completed += max(0, now.answered - upload.answered)
        failed += max(0, now.failed - upload.failed)
    return Sweep(examined=examined, republished=republished, completed=completed, failed=failed)

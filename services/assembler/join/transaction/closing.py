"""Ends a transaction: counts into the uploads, decides which are complete, and writes their completion events."""

from dataclasses import replace

from schemas.settings import Settings
from services.assembler.domain.changes import UploadChanges
from services.assembler.domain.completion_value import value_of
from services.assembler.domain.lifecycle import derived_state
from services.assembler.domain.stored import StoredUpload
from services.assembler.domain.views import upload_view
from services.assembler.join.transaction.work import Work
from services.assembler.store.connections import Connection
from services.assembler.store.join_reads import count_distinct_phones
from services.assembler.store.outbox import add_completion, announced_end
from services.assembler.store.plan_answers import known_phones
from services.assembler.store.upload_writes import (
    add_counts,
    add_tallies,
    note_changed_rows,
    save_facts,
    tallies_of,
)


def close_uploads(work: Work, settings: Settings) -> bool:
    """Updates the touched uploads, in id order; returns whether a completion event was written."""
    completed = False
    touched = sorted(work.changes.by_upload, key=lambda no: work.by_no[no].upload.id)
    for upload_no in touched:
        completed |= _close(work, upload_no, work.changes.by_upload[upload_no], settings)
    return completed


def _close(work: Work, upload_no: int, changes: UploadChanges, settings: Settings) -> bool:
    connection = work.connection
    counted = add_counts(connection, upload_no, changes)
    add_tallies(connection, upload_no, changes)
    note_changed_rows(connection, upload_no, counted.version, changes)
    final = _with_state(connection, counted)
    save_facts(connection, counted, final)
    if final.finished_at is None or counted.finished_at is not None:
        return False
    _announce(connection, final, settings)
    return True


def _with_state(connection: Connection, counted: StoredUpload) -> StoredUpload:
    """The upload with its state, and the other values that follow from its counts."""
    announced = None if counted.cancelled_at is None else announced_end(connection, counted)
    state, finished_at = derived_state(counted, announced)
    upload = replace(counted, state=state, finished_at=finished_at)
    if upload.check_id is not None and upload.plan_known is None:
        upload = replace(upload, plan_known=known_phones(connection, upload.no, upload.check_id))
    if finished_at is not None and upload.plan_distinct is None:
        upload = replace(upload, distinct_phones=count_distinct_phones(connection, upload.no))
    return upload


def _announce(connection: Connection, upload: StoredUpload, settings: Settings) -> None:
    verdicts: dict[str, int] = {}
    line_types: dict[str, int] = {}
    for verdict, line_type, count in tallies_of(connection, upload.no):
        verdicts[verdict] = verdicts.get(verdict, 0) + count
        line_types[line_type] = line_types.get(line_type, 0) + count
    shown = upload_view(replace(upload, verdicts=verdicts, line_types=line_types, preview=None), settings=settings)
    assert upload.finished_at is not None
    add_completion(connection, upload, at=upload.finished_at, value=value_of(shown))

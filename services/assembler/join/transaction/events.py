"""Joins upload events: folds them into the uploads, and judges rows again where their upload wants other results now.

Actions of operators that are about no upload are events too: they are added to the audit list, or ask for a sweep.
"""

from collections.abc import Iterable
from dataclasses import replace

from schemas.upload_events import DismissFailed, OperatorActed, UploadEvent
from services.assembler.domain.decoding import PartitionBatch
from services.assembler.domain.lifecycle import depends_on_announced, fold, want_of
from services.assembler.domain.row_state import State
from services.assembler.domain.stored import AuditEntry, StoredUpload
from services.assembler.domain.stored_numbers import result_id, to_micros
from services.assembler.join.transaction.work import Work
from services.assembler.store.dead_letters import dismiss
from services.assembler.store.outbox import announced_end
from services.assembler.store.row_writes import open_rows_of_upload, rows_answered_after
from services.assembler.store.sweeps import request_sweep
from services.assembler.store.upload_writes import add_audit, save_facts

_HEAD = frozenset({"type", "upload_id", "at", "by"})


def join_events(work: Work, batches: Iterable[PartitionBatch], *, max_age_seconds: int) -> None:
    """Folds all events of the batches. Their uploads must be open, and the turn taken alone."""
    before: dict[str, StoredUpload] = {}
    audited: list[AuditEntry] = []
    for batch in batches:
        for offset, event in batch.events:
            entry_id = result_id(batch.partition, offset)
            if event.by != "system":
                audited.append(_audit_entry(event, entry_id))
            if isinstance(event, OperatorActed):
                _note_sweep(work, event)
                continue
            touched = work.by_id[event.upload_id]
            if isinstance(event, DismissFailed):
                dismiss(work.connection, touched.no, event.only, event_id=entry_id, by_now=event.at)
            before.setdefault(event.upload_id, touched.upload)
            announced = announced_end(work.connection, touched.upload) if depends_on_announced(event) else None
            folded = fold(touched.upload, event, max_age_seconds=max_age_seconds, announced=announced)
            touched.upload = _placed(folded, batch.partition)
    add_audit(work.connection, audited)
    for upload_id, old in sorted(before.items()):
        _apply(work, old, work.by_id[upload_id].upload)


def _placed(upload: StoredUpload, partition: int) -> StoredUpload:
    return upload if upload.partition == partition else replace(upload, partition=partition)


def _audit_entry(event: UploadEvent, entry_id: int) -> AuditEntry:
    if isinstance(event, OperatorActed):
        detail = event.model_dump_json(exclude={*_HEAD, "action"}, exclude_none=True)
        return AuditEntry(entry_id, event.at, event.by, event.action, "", detail)
    detail = event.model_dump_json(exclude=set(_HEAD))
    return AuditEntry(entry_id, event.at, event.by, event.type, event.upload_id, detail)


def _note_sweep(work: Work, event: OperatorActed) -> None:
    if event.sweep_id is not None:
        request_sweep(work.connection, event.sweep_id, by=event.by, at=event.at)


def _apply(work: Work, old: StoredUpload, new: StoredUpload) -> None:
    if new == old:
        return
    save_facts(work.connection, old, new)
    work.set(new)
    work.changes.of(new.no)
    if want_of(new) is None or want_of(new) == want_of(old):
        return
    # A cancellation alone does not change open rows: no result answers a row that it did not answer before.
    if want_of(new) != want_of(replace(old, cancelled_at=new.cancelled_at)) or new.cancelled_at is None:
        _judge_open_rows_again(work, new)
    if new.cancelled_at is not None and old.cancelled_at is None:
        _judge_rows_answered_after(work, new, to_micros(new.cancelled_at))


def _judge_open_rows_again(work: Work, upload: StoredUpload) -> None:
    after_row = 0
    while held := open_rows_of_upload(
        work.connection, upload.no, states=(State.waiting, State.failed), after_row=after_row
    ):
        work.judge_again(held)
        after_row = held[-1].row


def _judge_rows_answered_after(work: Work, upload: StoredUpload, micros: int) -> None:
    after_row = 0
    while held := rows_answered_after(work.connection, upload.no, micros, after_row=after_row):
        work.judge_again(held)
        after_row = held[-1].row

"""Owns the sweep's own transactions: they judge waiting rows again, and end an upload whose rows are missing.

They concern rows and uploads of any partition, so each takes the turn alone.
"""

from datetime import UTC, datetime

from schemas.settings import Settings
from services.assembler.domain.answers import CandidateCache
from services.assembler.domain.row_state import State
from services.assembler.domain.stored import StoredUpload
from services.assembler.join.transaction.closing import close_uploads
from services.assembler.join.transaction.work import Work
from services.assembler.store.connections import Connection
from services.assembler.store.dialect import take_turn
from services.assembler.store.row_writes import open_rows_of_upload
from services.assembler.store.upload_writes import save_missing_rows


def judge_waiting_rows(
    connection: Connection, *, upload: StoredUpload, after_row: int, settings: Settings
) -> tuple[int | None, bool]:
    """Judges the next waiting rows again, by the results that SQL holds of their phones.

    Returns the last row that was judged, None if there was none, and whether a completion event was written.
    """
    work = _alone(connection, upload)
    held = open_rows_of_upload(connection, upload.no, states=(State.waiting,), after_row=after_row)
    work.judge_again(held)
    return (held[-1].row if held else None), close_uploads(work, settings)


def end_without_rows(connection: Connection, *, upload: StoredUpload, settings: Settings) -> None:
    """Ends an upload as failed if it still lacks rows."""
    work = _alone(connection, upload)
    save_missing_rows(connection, upload.no)
    work.changes.of(upload.no)
    close_uploads(work, settings)


def _alone(connection: Connection, upload: StoredUpload) -> Work:
    take_turn(connection, alone=True)
    work = Work(connection, CandidateCache(0), datetime.now(UTC))
    work.open_numbers([upload.no])
    return work

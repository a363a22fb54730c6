"""Owns the state that the steps of a transaction share: the uploads, the results they want, the changes to count."""

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from services.assembler.domain.answers import AnswerCandidate, CandidateCache, UploadWant, judge
from services.assembler.domain.changes import Changes
from services.assembler.domain.lifecycle import want_of
from services.assembler.domain.row_state import State
from services.assembler.domain.stored import StoredUpload
from services.assembler.domain.stored_numbers import to_micros
from services.assembler.store.connections import Connection
from services.assembler.store.result_writes import candidates_of
from services.assembler.store.row_writes import HeldRow, RowMove, move_rows
from services.assembler.store.upload_writes import open_uploads, uploads_by_number

log = logging.getLogger(__name__)


@dataclass(slots=True)
class TouchedUpload:
    """An upload within the transaction, with the events folded so far, and the results that it wants."""

    upload: StoredUpload
    want: UploadWant | None

    @property
    def no(self) -> int:
        return self.upload.no

    @property
    def deleted(self) -> bool:
        return self.upload.deleted_at is not None


@dataclass(slots=True)
class Work:
    """One transaction. It has the turn, so no other one changes what the uploads want. `now`: its time."""

    connection: Connection
    cache: CandidateCache
    now: datetime
    by_id: dict[str, TouchedUpload] = field(default_factory=dict)
    by_no: dict[int, TouchedUpload] = field(default_factory=dict)
    changes: Changes = field(default_factory=Changes)

    def open(self, ids: Collection[str]) -> None:
        """Loads uploads by id, making those that are not there yet."""
        for upload in open_uploads(self.connection, ids, now=self.now):
            self.set(upload)

    def open_numbers(self, numbers: Iterable[int]) -> None:
        """Loads uploads by number, if they are not loaded yet."""
        missing = {number for number in numbers if number not in self.by_no}
        for upload in uploads_by_number(self.connection, missing):
            self.set(upload)

    def set(self, upload: StoredUpload) -> TouchedUpload:
        touched = TouchedUpload(upload, want_of(upload))
        self.by_id[upload.id] = self.by_no[upload.no] = touched
        return touched

    def candidates(self, phones: Collection[str]) -> dict[str, tuple[AnswerCandidate, ...]]:
        """Each phone's results in log order, cached or read. Only for phones of the partitions that this join owns."""
        found: dict[str, tuple[AnswerCandidate, ...]] = {}
        unknown: list[str] = []
        for phone in phones:
            remembered = self.cache.get(phone)
            if remembered is None:
                unknown.append(phone)
            else:
                found[phone] = remembered
        if unknown:
            read = candidates_of(self.connection, unknown)
            self.cache.put_all(read)
            found |= read
        return found

    def judge_again(self, held: Collection[HeldRow]) -> None:
        """Gives rows of any partition the state and result that the answer rule decides now, and counts the changes.

        The cache is not used: another join may have stored results of the phones since they were read.
        """
        phones = {row.phone for row in held if row.phone is not None}
        self.judge_by(candidates_of(self.connection, phones), held)

    def judge_by(self, candidates: Mapping[str, tuple[AnswerCandidate, ...]], held: Collection[HeldRow]) -> None:
        """Like `judge_again`, with the given results of the rows' phones."""
        self.open_numbers(row.upload_no for row in held)
        moves: list[RowMove] = []
        for row in held:
            touched = self.by_no[row.upload_no]
            if row.phone is None or touched.deleted:
                continue
            found = candidates[row.phone]
            state, answer = judge(found, touched.want)
            answer_id = None if answer is None else answer.id
            if (state, answer_id) != (row.state, row.result_id):
                moves.append(RowMove(row.upload_no, row.row, int(state), answer_id))
                self._count(row, state, answer, found)
        move_rows(self.connection, moves)

    def _count(
        self, row: HeldRow, state: State, answer: AnswerCandidate | None, candidates: tuple[AnswerCandidate, ...]
    ) -> None:
        changes = self.changes.of(row.upload_no)
        changes.move(row.row, State(row.state), state)
        if row.state == State.answered:
            self.untally(row, candidates)
        if answer is not None:
            changes.settled_at = max(changes.settled_at, to_micros(answer.looked_up_at))
            if state is State.answered:
                changes.tally(answer, +1)

    def untally(self, row: HeldRow, candidates: Iterable[AnswerCandidate]) -> None:
        """Takes the result of an answered row, one of the candidates, out of the tallies."""
        for candidate in candidates:
            if candidate.id == row.result_id:
                self.changes.of(row.upload_no).tally(candidate, -1)
                return
        log.error("upload number %d: the result of row %d is gone; its verdict stays counted", row.upload_no, row.row)

"""Joins rows: stores each with the result that answers it now, and counts it once however often its record comes."""

import logging
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from services.assembler.domain.answers import AnswerCandidate, judge
from services.assembler.domain.decoding import PartitionBatch, UnusableRow, UsableRow
from services.assembler.domain.row_state import State
from services.assembler.domain.stored_numbers import to_micros
from services.assembler.join.transaction.erasure import Erasures
from services.assembler.join.transaction.work import Work
from services.assembler.store.result_writes import candidates_of
from services.assembler.store.row_writes import (
    HeldRow,
    NewRow,
    held_rows,
    insert_rows,
    replace_rows,
    set_rounds,
)

_Key = tuple[int, int]
log = logging.getLogger(__name__)
_UNPROCESSED = State.unprocessed.value


class RowsAppeared(Exception):
    """Another join stored one of the rows at the same moment. The transaction can be repeated at once."""


class _Placed(NamedTuple):
    """A row to be stored, its answer, and the newer time of the two (microseconds)."""

    new: NewRow
    state: State
    answer: AnswerCandidate | None
    settled_at: int


def join_rows(work: Work, batches: Iterable[PartitionBatch], erasures: Erasures) -> None:
    """Stores the usable rows of the batches. Their uploads must be open; rows of deleted uploads are dropped."""
    rows = [row for batch in batches for row in batch.rows if not work.by_id[row.upload_id].deleted]
    if rows:
        _store(work, _judged(work, rows, erasures))


def join_rejected(work: Work, batches: Iterable[PartitionBatch]) -> None:
    """Stores the rows without a usable phone."""
    rows = [row for batch in batches for row in batch.rejected if not work.by_id[row.upload_id].deleted]
    if rows:
        _store(work, [_unusable(work, row) for row in rows])


def _judged(work: Work, rows: Sequence[UsableRow], erasures: Erasures) -> list[_Placed]:
    candidates = work.candidates({row.phone for row in rows})
    by_id = work.by_id
    placed: list[_Placed] = []
    for upload_id, number, line, round_, phone, cells, at, place in rows:
        touched = by_id[upload_id]
        no = touched.upload.no
        if erasures.covers(phone, at):
            blank = NewRow(no, number, line, _UNPROCESSED, round_, None, None, "[]", None, place)
            placed.append(_Placed(blank, State.unprocessed, None, at))
            continue
        state, answer = judge(candidates[phone], touched.want)
        answer_id, settled_at = None, at
        if answer is not None:
            answer_id, settled_at = answer.id, max(at, to_micros(answer.looked_up_at))
        new = NewRow(no, number, line, state.value, round_, phone, answer_id, cells, None, place)
        placed.append(_Placed(new, state, answer, settled_at))
    return placed


def _unusable(work: Work, row: UnusableRow) -> _Placed:
    state = State.unprocessed if row.code == "cancelled" else State.rejected
    no = work.by_id[row.upload_id].no
    new = NewRow(no, row.row, row.line, state.value, 0, None, None, row.cells, row.error, row.place)
    return _Placed(new, state, None, row.at)


def _store(work: Work, placed: list[_Placed]) -> None:
    if insert_rows(work.connection, [entry.new for entry in placed]):
        _count_new(work, placed)
        return
    _store_some_again(work, placed)


def _count_new(work: Work, placed: Iterable[_Placed]) -> None:
    for new, state, answer, settled_at in placed:
        changes = work.changes.of(new.upload_no)
        changes.move(new.row, None, state)
        if settled_at > changes.settled_at:
            changes.settled_at = settled_at
        if answer is not None and state is State.answered:
            changes.tally(answer, +1)


def _store_some_again(work: Work, placed: list[_Placed]) -> None:
    """Stores records of rows of which some are stored already: their producer crashed, or published them again.

    One record of each row stands, in whatever order they are read: a usable row beats one that was rejected or left
    over at a cancellation; else the earliest record stands.

    Raises:
        RowsAppeared: another join stored one of them at the same moment.
    """
    best: dict[_Key, _Placed] = {}
    for entry in placed:
        key = (entry.new.upload_no, entry.new.row)
        best[key] = _of_two(best[key], entry) if key in best else entry
    held = held_rows(work.connection, best)
    fresh = [entry for key, entry in best.items() if key not in held]
    if not insert_rows(work.connection, [entry.new for entry in fresh]):
        raise RowsAppeared
    _count_new(work, fresh)
    known = {key: entry for key, entry in best.items() if key in held}
    _replace(work, {key: entry for key, entry in known.items() if _rank(entry.new) < _rank(held[key])}, held)
    _raise_rounds(work, {key: entry for key, entry in known.items() if _rank(entry.new) >= _rank(held[key])}, held)


def _rank(row: NewRow | HeldRow) -> tuple[bool, int]:
    # A row without phone and without error was erased: it is a usable one.
    return row.error is not None, row.place or 0


def _of_two(first: _Placed, second: _Placed) -> _Placed:
    """Which of two records of one row stands; it gets the higher round of the two."""
    stands, other = (second, first) if _rank(second.new) < _rank(first.new) else (first, second)
    _warn_of_another_phone(stands.new, other.new)
    if stands.new.phone is not None and other.new.phone is not None and other.new.round > stands.new.round:
        return stands._replace(new=stands.new._replace(round=other.new.round))
    return stands


def _raise_rounds(work: Work, again: dict[_Key, _Placed], held: dict[_Key, HeldRow]) -> None:
    """Keeps the stored rows, and stores the higher round of those that were published again."""
    rounds: dict[_Key, int] = {}
    for key, entry in again.items():
        _warn_of_another_phone(held[key], entry.new)
        if entry.new.phone is not None and entry.new.round > held[key].round:
            rounds[key] = entry.new.round
    set_rounds(work.connection, rounds)


def _warn_of_another_phone(stands: NewRow | HeldRow, other: NewRow | HeldRow) -> None:
    if stands.phone is not None and other.phone not in (None, stands.phone):
        log.warning("upload number %d: row %d came with two phones; the earlier stands", stands.upload_no, stands.row)


def _replace(work: Work, instead: dict[_Key, _Placed], held: dict[_Key, HeldRow]) -> None:
    if not instead:
        return
    highest = {key: max(entry.new.round, held[key].round) for key, entry in instead.items()}
    replace_rows(work.connection, [entry.new._replace(round=highest[key]) for key, entry in instead.items()])
    answered = [held[key] for key in instead if held[key].state == State.answered]
    candidates = candidates_of(work.connection, {row.phone for row in answered if row.phone is not None})
    for row in answered:
        work.untally(row, candidates.get(row.phone or "", ()))
    for key, (new, state, answer, settled_at) in instead.items():
        _warn_of_another_phone(new, held[key])
        changes = work.changes.of(new.upload_no)
        changes.move(new.row, State(held[key].state), state)
        changes.settled_at = max(changes.settled_at, settled_at)
        if answer is not None and state is State.answered:
            changes.tally(answer, +1)

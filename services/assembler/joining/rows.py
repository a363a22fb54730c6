"""Joins rows: stores each with the result that answers it by now, counting each row once however often it comes."""

import logging
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from services.assembler.candidates import Candidate, judge
from services.assembler.decoding import PartitionBatch, UnusableRow, UsableRow
from services.assembler.joining.erasure import Erasures
from services.assembler.joining.work import Work
from services.assembler.store.row_writes import (
    HeldRow,
    NewRow,
    held_rows,
    insert_rows,
    replace_rows,
    set_rounds,
)
from services.assembler.store.values import State, to_micros

_Key = tuple[int, int]
log = logging.getLogger(__name__)
_UNPROCESSED = State.unprocessed.value


class _Placed(NamedTuple):
    """A row to be stored, its answer, and when the later of the two came to be (microseconds)."""

    new: NewRow
    state: State
    answer: Candidate | None
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
    for upload_id, number, line, round_, phone, cells, at in rows:
        touched = by_id[upload_id]
        no = touched.record.no
        if erasures.covers(phone, at):
            blank = NewRow(no, number, line, _UNPROCESSED, round_, None, None, "[]", None)
            placed.append(_Placed(blank, State.unprocessed, None, at))
            continue
        state, answer = judge(candidates[phone], touched.want)
        answer_id, settled_at = None, at
        if answer is not None:
            answer_id, settled_at = answer.id, max(at, to_micros(answer.looked_up_at))
        new = NewRow(no, number, line, state.value, round_, phone, answer_id, cells, None)
        placed.append(_Placed(new, state, answer, settled_at))
    return placed


def _unusable(work: Work, row: UnusableRow) -> _Placed:
    state = State.unprocessed if row.code == "cancelled" else State.rejected
    no = work.by_id[row.upload_id].no
    new = NewRow(no, row.row, row.line, state.value, 0, None, None, row.cells, row.error)
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
    """Some rows were there before: after a crash of whoever published them, or because they are asked again.

    A usable row stands over one that was rejected or left over at a cancellation, whichever came first.
    """
    held = held_rows(work.connection, {(entry.new.upload_no, entry.new.row) for entry in placed})
    fresh: dict[_Key, _Placed] = {}
    instead: dict[_Key, _Placed] = {}
    rounds: dict[_Key, int] = {}
    for entry in placed:
        new = entry.new
        key = (new.upload_no, new.row)
        known = held.get(key)
        if known is None and key not in fresh:
            fresh[key] = entry
        elif known is None:
            fresh[key] = _of_two(fresh[key], entry)
        elif _stands_over(new, known):
            instead[key] = _of_two(instead[key], entry) if key in instead else entry
        elif new.phone is not None and known.phone not in (None, new.phone):
            log.warning("upload number %d: row %d came again with another phone; the stored one stands", *key)
        elif new.phone is not None and new.round > max(known.round, rounds.get(key, 0)):
            rounds[key] = new.round
    if not insert_rows(work.connection, [entry.new for entry in fresh.values()]):
        raise RuntimeError("rows appeared under the transaction that stores them")
    _count_new(work, fresh.values())
    _replace(work, instead, held)
    set_rounds(work.connection, rounds)


def _of_two(first: _Placed, second: _Placed) -> _Placed:
    """The first of two records of one row stands, with the higher round."""
    if first.new.phone is not None and second.new.phone is not None and second.new.round > first.new.round:
        return first._replace(new=first.new._replace(round=second.new.round))
    return first


def _stands_over(new: NewRow, known: HeldRow) -> bool:
    # A row without phone and without error was erased, and stays so.
    return new.phone is not None and known.phone is None and known.error is not None


def _replace(work: Work, instead: dict[_Key, _Placed], held: dict[_Key, HeldRow]) -> None:
    if not instead:
        return
    replace_rows(work.connection, [entry.new for entry in instead.values()])
    for key, (new, state, answer, settled_at) in instead.items():
        changes = work.changes.of(new.upload_no)
        changes.move(new.row, State(held[key].state), state)
        changes.settled_at = max(changes.settled_at, settled_at)
        if answer is not None and state is State.answered:
            changes.tally(answer, +1)

"""Joins rows: stores each with the result that answers it by now, counting each row once however often it comes."""

from collections.abc import Iterable, Sequence

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
from services.assembler.store.tables import State, to_micros

_Placed = tuple[NewRow, Candidate | None, int]
"""A row to be stored, its answer, and when the later of the two came to be (microseconds)."""
_Key = tuple[int, int]


def join_rows(work: Work, batches: Iterable[PartitionBatch], erasures: Erasures) -> None:
    """Stores the usable rows of the batches. Their uploads must be open; rows of deleted uploads are dropped."""
    rows = [row for batch in batches for row in batch.rows if not work.by_id[row.upload_id].deleted]
    if rows:
        _store(work, _judged(work, rows, erasures))


def join_rejected(work: Work, batches: Iterable[PartitionBatch]) -> None:
    """Stores the rows without a usable phone."""
    rows = [row for batch in batches for row in batch.rejected if not work.by_id[row.upload_id].deleted]
    if rows:
        _store(work, [(_unusable(work, row), None, row.at) for row in rows])


def _judged(work: Work, rows: Sequence[UsableRow], erasures: Erasures) -> list[_Placed]:
    candidates = work.candidates({row.phone for row in rows})
    by_id = work.by_id
    placed: list[_Placed] = []
    for upload_id, number, line, round_, phone, cells, at in rows:
        touched = by_id[upload_id]
        no = touched.record.no
        if erasures.covers(phone, at):
            placed.append((NewRow(no, number, line, State.unprocessed, round_, None, None, "[]", None), None, at))
            continue
        state, answer = judge(candidates[phone], touched.want)
        if answer is None:
            placed.append((NewRow(no, number, line, state, round_, phone, None, cells, None), None, at))
            continue
        settled_at = max(at, to_micros(answer.looked_up_at))
        placed.append((NewRow(no, number, line, state, round_, phone, answer.id, cells, None), answer, settled_at))
    return placed


def _unusable(work: Work, row: UnusableRow) -> NewRow:
    no = work.by_id[row.upload_id].no
    state = State.unprocessed if row.code == "cancelled" else State.rejected
    return NewRow(no, row.row, row.line, state, 0, None, None, row.cells, row.error)


def _store(work: Work, placed: list[_Placed]) -> None:
    if insert_rows(work.connection, [new for new, _, _ in placed]):
        _count_new(work, placed)
        return
    _store_some_again(work, placed)


def _count_new(work: Work, placed: Iterable[_Placed]) -> None:
    for new, answer, settled_at in placed:
        changes = work.changes.of(new.upload_no)
        changes.move(new.row, None, State(new.state))
        if settled_at > changes.settled_at:
            changes.settled_at = settled_at
        if answer is not None and new.state == State.answered:
            changes.tally(answer, +1)


def _store_some_again(work: Work, placed: list[_Placed]) -> None:
    """Some rows were there before: after a crash of whoever published them, or because they are asked again.

    A usable row stands over one that was rejected or left over at a cancellation, whichever came first.
    """
    held = held_rows(work.connection, {(new.upload_no, new.row) for new, _, _ in placed})
    fresh: dict[_Key, _Placed] = {}
    instead: dict[_Key, _Placed] = {}
    rounds: dict[_Key, int] = {}
    for entry in placed:
        new = entry[0]
        key = (new.upload_no, new.row)
        known = held.get(key)
        if known is None and key not in fresh:
            fresh[key] = entry
        elif known is None:
            fresh[key] = _of_two(fresh[key], entry)
        elif _stands_over(new, known):
            instead[key] = _of_two(instead[key], entry) if key in instead else entry
        elif new.phone is not None and new.round > max(known.round, rounds.get(key, 0)):
            rounds[key] = new.round
    if not insert_rows(work.connection, [new for new, _, _ in fresh.values()]):
        raise RuntimeError("rows appeared under the transaction that stores them")
    _count_new(work, fresh.values())
    _replace(work, instead, held)
    set_rounds(work.connection, rounds)


def _of_two(first: _Placed, second: _Placed) -> _Placed:
    """Which of two records of one row stands; the round is the higher one."""
    if first[0].phone is None and second[0].phone is not None:
        return second
    if second[0].phone is not None and second[0].round > first[0].round:
        return first[0]._replace(round=second[0].round), first[1], first[2]
    return first


def _stands_over(new: NewRow, known: HeldRow) -> bool:
    return new.phone is not None and known.phone is None and known.state != State.waiting


def _replace(work: Work, instead: dict[_Key, _Placed], held: dict[_Key, HeldRow]) -> None:
    if not instead:
        return
    replace_rows(work.connection, [new for new, _, _ in instead.values()])
    for key, (new, answer, settled_at) in instead.items():
        changes = work.changes.of(new.upload_no)
        changes.move(new.row, State(held[key].state), State(new.state))
        changes.settled_at = max(changes.settled_at, settled_at)
        if answer is not None and new.state == State.answered:
            changes.tally(answer, +1)

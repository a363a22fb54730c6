"""Owns the writes of rows: bulk inserts that count exactly, changes of state, and the reads that precede them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection, Executable, bindparam, select, tuple_, update

from services.assembler.domain.row_state import State
from services.assembler.store.dialect import by_index, compiled, insert_or_ignore
from services.assembler.store.result_writes import PHONES_PER_QUERY
from services.assembler.store.tables import is_open, results, rows

CHUNK = 5000


class NewRow(NamedTuple):
    """A row to be stored, in the order of the table's columns. `cells` and `error` are JSON."""

    upload_no: int
    row: int
    line: int | None
    state: int
    round: int
    phone: str | None
    result_id: int | None
    cells: str
    error: str | None
    place: int | None


class HeldRow(NamedTuple):
    """The fields of a stored row that later records may change."""

    upload_no: int
    row: int
    state: int
    round: int
    phone: str | None
    result_id: int | None
    error: str | None
    place: int | None


class RowMove(NamedTuple):
    """A row's new state and result."""

    upload_no: int
    row: int
    state: int
    result_id: int | None


_HELD = tuple(rows.c[name] for name in HeldRow._fields)


def insert_rows(connection: Connection, new: Sequence[NewRow]) -> bool:
    """Stores all rows, or none and returns False if one of them is there already or twice in `new`."""
    if not new:
        return True
    savepoint = connection.begin_nested()
    statement = compiled(connection, insert_or_ignore(connection, rows))
    # In the order of the key: neighbours land on the same page.
    inserted = connection.exec_driver_sql(statement, sorted(new, key=itemgetter(0, 1))).rowcount
    if inserted == len(new):
        savepoint.commit()
        return True
    savepoint.rollback()
    return False


def held_rows(connection: Connection, keys: Iterable[tuple[int, int]]) -> dict[tuple[int, int], HeldRow]:
    """The stored rows with these keys (upload number and row). Locks them, in the order of the key."""
    by_upload: dict[int, list[int]] = {}
    for upload_no, row in sorted(keys):
        by_upload.setdefault(upload_no, []).append(row)
    found: dict[tuple[int, int], HeldRow] = {}
    for upload_no, numbers in by_upload.items():
        for start in range(0, len(numbers), CHUNK):
            part = numbers[start : start + CHUNK]
            query = select(*_HELD).where(rows.c.upload_no == upload_no, rows.c.row.in_(part))
            for values in connection.execute(query.order_by(rows.c.row).with_for_update()):
                held = HeldRow._make(values)
                found[held.upload_no, held.row] = held
    return found


def open_rows_of_phones(connection: Connection, phones: Collection[str]) -> list[HeldRow]:
    """Rows of these phones that a result may still change: waiting or failed."""
    found: list[HeldRow] = []
    distinct = list(phones)
    for start in range(0, len(distinct), PHONES_PER_QUERY):
        part = distinct[start : start + PHONES_PER_QUERY]
        query = select(*_HELD).where(rows.c.phone.in_(part), is_open())
        found.extend(HeldRow._make(values) for values in connection.execute(query))
    return found


def open_rows_of_upload(
    connection: Connection, upload_no: int, *, states: Collection[State], after_row: int
) -> list[HeldRow]:
    """The next rows of an upload in these open states, by row number."""
    query = (
        select(*_HELD)
        .where(rows.c.upload_no == upload_no, rows.c.state.in_([int(state) for state in states]), is_open())
        .where(rows.c.row > after_row)
        .order_by(rows.c.row)
        .limit(CHUNK)
    )
    query = by_index(query, rows, "rows_open_by_upload")
    return [HeldRow._make(values) for values in connection.execute(query)]


def rows_answered_after(connection: Connection, upload_no: int, micros: int, *, after_row: int) -> list[HeldRow]:
    """The next answered rows of an upload whose result was looked up after a time, by row number."""
    query = (
        select(*_HELD)
        .join(results, results.c.id == rows.c.result_id)
        .where(rows.c.upload_no == upload_no, rows.c.row > after_row)
        .where(rows.c.state == int(State.answered), results.c.looked_up_at > micros)
        .order_by(rows.c.row)
        .limit(CHUNK)
    )
    return [HeldRow._make(values) for values in connection.execute(query)]


_MOVE = (
    update(rows)
    .where(rows.c.upload_no == bindparam("_upload_no"), rows.c.row == bindparam("_row"))
    .values(state=bindparam("_state"), result_id=bindparam("_result_id"))
)


def move_rows(connection: Connection, moves: Sequence[RowMove]) -> None:
    """Gives rows their new state and result."""
    _execute_many(
        connection,
        _MOVE,
        [{"_upload_no": m.upload_no, "_row": m.row, "_state": m.state, "_result_id": m.result_id} for m in moves],
    )


_SET_ROUND = (
    update(rows)
    .where(rows.c.upload_no == bindparam("_upload_no"), rows.c.row == bindparam("_row"))
    .values(round=bindparam("_round"))
)


def set_rounds(connection: Connection, rounds: Mapping[tuple[int, int], int]) -> None:
    """Stores the highest round in which each row was published."""
    _execute_many(
        connection, _SET_ROUND, [{"_upload_no": no, "_row": row, "_round": n} for (no, row), n in rounds.items()]
    )


def replace_rows(connection: Connection, new: Sequence[NewRow]) -> None:
    """Overwrites stored rows."""
    for start in range(0, len(new), CHUNK):
        part = new[start : start + CHUNK]
        keys = [(row.upload_no, row.row) for row in part]
        connection.execute(rows.delete().where(tuple_(rows.c.upload_no, rows.c.row).in_(keys)))
    connection.execute(rows.insert(), [row._asdict() for row in new])


def erase_phone(connection: Connection, phone: str) -> list[HeldRow]:
    """Blanks phone, cells and result of every row of a phone; returns them as they were."""
    held = [HeldRow._make(values) for values in connection.execute(select(*_HELD).where(rows.c.phone == phone))]
    connection.execute(
        update(rows)
        .where(rows.c.phone == phone)
        .values(phone=None, cells="[]", result_id=None, state=int(State.unprocessed))
    )
    return held


def _execute_many(connection: Connection, statement: Executable, values: list[dict[str, Any]]) -> None:
    if values:
        connection.execute(statement, values)

"""Owns the erasures: keyed hashes of erased phones, each with the time up to which its rows are stored blank."""

from sqlalchemy import Connection, select

from services.assembler.domain.stored_numbers import from_micros, to_micros
from services.assembler.store.dialect import upsert
from services.assembler.store.tables import erasures


def load_erasures(connection: Connection) -> dict[str, int]:
    """The hash of each erased phone, with the time (microseconds) up to which its rows are blank."""
    return {
        phone_hash: to_micros(at) for phone_hash, at in connection.execute(select(erasures.c.phone_hash, erasures.c.at))
    }


def save_erasure(connection: Connection, phone_hash: str, *, until_micros: int) -> None:
    """Stores the time up to which the rows of a phone are blank; replaces an earlier one."""
    statement = upsert(connection, erasures, keys=("phone_hash",), replace=("at",))
    connection.execute(statement, {"phone_hash": phone_hash, "at": from_micros(until_micros)})

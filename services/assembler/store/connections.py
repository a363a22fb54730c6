"""Owns the parts of SQLAlchemy that roles may use: connection, engine and their errors; opens snapshots."""

from contextlib import AbstractContextManager

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError as DatabaseUnavailable
from sqlalchemy.exc import SQLAlchemyError as DatabaseError

__all__ = ("Connection", "DatabaseError", "DatabaseUnavailable", "Engine", "cause_of", "ping", "reading")


def reading(engine: Engine) -> AbstractContextManager[Connection]:
    """A context manager that gives a connection with one consistent snapshot."""
    return engine.connect()


def ping(connection: Connection) -> None:
    """Returns when the database has answered.

    Raises:
        DatabaseError: it did not.
    """
    connection.execute(text("SELECT 1"))


def cause_of(error: BaseException) -> BaseException:
    """The driver's error behind one of SQLAlchemy's; any other error itself."""
    return getattr(error, "orig", None) or error

"""Owns what differs between SQLite and PostgreSQL: connecting, durability, upserts; nothing else names a dialect.

SQLite runs with `synchronous=NORMAL`: after a power cut the last transactions may be gone, but each one carries the
Kafka offsets of what it wrote, so the join reads those records again. Nothing can be half there.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, Select, Table, create_engine, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as NoConnection

BUSY_TIMEOUT_MS = 30_000
PREPARING = 7_305_412
"""An advisory lock of our own."""
TURNS = 7_305_413
"""Another one, of each schema."""
_SERVER = {
    "client_encoding": "utf8",
    "connect_timeout": 10,
    # A server that vanished without a word is noticed within a minute.
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""libpq's options for a connection. `tcp_user_timeout` is in milliseconds."""
_SESSION = (
    # Longer than the longest statement: the count of the distinct phones of ten million rows.
    "SET statement_timeout = '300s'",
    # Longer than the longest transaction that others wait for: a cancellation, or the opening of an upload.
    "SET lock_timeout = '120s'",
    "SET idle_in_transaction_session_timeout = '300s'",
)
_AGAIN = frozenset({"40001", "40P01"})
"""SQLSTATE of a serialization failure and of a deadlock: the same transaction may succeed at once."""
_LIMIT_EXCEEDED = "54"
"""The class of SQLSTATEs that say that a statement is too large for PostgreSQL: the record's fault."""
CACHE_KIB = 32 * 1024
_PRAGMAS = (
    f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=NORMAL",
    f"PRAGMA cache_size=-{CACHE_KIB}",
    "PRAGMA temp_store=MEMORY",
    "PRAGMA wal_autocheckpoint=4000",
)


def connect(url: str) -> Engine:
    """The engine for a database URL: `sqlite:///file`, `sqlite://` (in memory) or `postgresql://…` (psycopg 3).

    Its errors hide parameters: they may be phones, and errors are logged.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _connect_sqlite(parsed)
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    return _connect_server(parsed)


def is_failure_of_database(error: BaseException) -> bool:
    """Whether the database failed (away, busy, full, damaged), not the work for a value that it cannot store."""
    if isinstance(error, NoConnection):
        return True
    if not isinstance(error, DBAPIError) or isinstance(error, DataError | IntegrityError):
        return False
    return not _sqlstate(error).startswith(_LIMIT_EXCEEDED)


def may_succeed_at_once(error: BaseException) -> bool:
    """Whether the transaction lost to another one, so that it is to be repeated now."""
    return isinstance(error, DBAPIError) and _sqlstate(error) in _AGAIN


def _sqlstate(error: DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""


def _connect_server(url: URL) -> Engine:
    # Whoever runs the database may say otherwise in the URL.
    given = {name: value for name, value in _SERVER.items() if name not in url.query}
    engine = create_engine(url, connect_args=given, pool_pre_ping=True, paramstyle="format", hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        # Not as options of the connection: PgBouncer refuses those.
        for statement in _SESSION:
            connection.execute(statement)
        connection.commit()

    return engine


def sqlite_file(url: str) -> Path | None:
    """The database file behind the URL; None for a server or a database in memory."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        return None
    return Path(str(parsed.database))


class _CompilerWithHints(SQLiteCompiler):
    """SQLAlchemy's, which leaves out the `INDEXED BY` of `by_index`."""

    def get_from_hint_text(self, table: Any, text: str | None) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        return text


def _connect_sqlite(url: URL) -> Engine:
    engine = create_engine(url, hide_parameters=True)
    engine.dialect.statement_compiler = _CompilerWithHints

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        # The driver's own transaction handling would leave a read outside of any snapshot.
        connection.isolation_level = None
        for pragma in _PRAGMAS:
            connection.execute(pragma)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN"))

    return engine


def for_writing(engine: Engine) -> Engine:
    """The engine for transactions that write: on SQLite they take the write lock when they begin."""
    return engine.execution_options(sqlite_begin="BEGIN IMMEDIATE")


def one_at_a_time(connection: Connection) -> None:
    """Lets no other process prepare the database until this transaction ends; on SQLite that is so anyway."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({PREPARING})")


def take_turn(connection: Connection, *, alone: bool) -> None:
    """Waits until this transaction may change rows, and keeps the turn until it ends.

    What concerns rows of any partition (an upload wants something else, a phone is erased) is done `alone`; all else
    beside other joins. So rows are never judged by what their upload no longer wants, and no two transactions wait for
    each other's rows. On SQLite every writer is alone anyway.
    """
    if connection.dialect.name == "postgresql":
        function = "pg_advisory_xact_lock" if alone else "pg_advisory_xact_lock_shared"
        connection.exec_driver_sql(f"SELECT {function}({TURNS}, hashtext(current_schema()))")


def encoding_of(connection: Connection) -> str:
    """The encoding in which the database stores texts."""
    if connection.dialect.name == "sqlite":
        return "UTF8"
    return str(connection.exec_driver_sql("SHOW server_encoding").scalar_one())


def by_index(query: Select[Any], table: Table, index: str) -> Select[Any]:
    """The query, going by an index. SQLite, which keeps no statistics here, would go by the primary key."""
    return query.with_hint(table, f"INDEXED BY {index}", "sqlite")


def insert_or_ignore(connection: Connection, table: Table) -> Any:
    """An INSERT that leaves a row alone whose key is there already."""
    return _insert(connection, table).on_conflict_do_nothing()


def upsert(connection: Connection, table: Table, *, keys: Sequence[str], replace: Sequence[str]) -> Any:
    """An INSERT that overwrites the columns `replace` of a row whose `keys` are there already."""
    statement = _insert(connection, table)
    return statement.on_conflict_do_update(
        index_elements=list(keys), set_={name: statement.excluded[name] for name in replace}
    )


def upsert_adding(connection: Connection, table: Table, *, keys: Sequence[str], add: str) -> Any:
    """An INSERT that adds to the column `add` of a row whose `keys` are there already."""
    statement = _insert(connection, table)
    return statement.on_conflict_do_update(
        index_elements=list(keys), set_={add: table.c[add] + statement.excluded[add]}
    )


def _insert(connection: Connection, table: Table) -> Any:
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)


def compiled(connection: Connection, statement: Any) -> str:
    """The statement as the driver takes it, with positional parameters in the order of the table's columns.

    For bulk inserts: building parameters from dictionaries costs more than the insert itself.
    """
    return str(statement.compile(dialect=connection.dialect))

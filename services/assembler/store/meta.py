"""Owns the database's identity: its schema, its epoch, and the Kafka cluster whose log it reflects."""

from datetime import UTC, datetime
from uuid import uuid4

from sqlalchemy import Connection, Engine, select, update

from services.assembler.store.dialect import encoding_of, for_writing, insert_or_ignore, one_at_a_time
from services.assembler.store.tables import SCHEMA_VERSION, meta, metadata, uploads

BEFORE_PLACES, WITH_PLACES = "3", "4"
"""The versions before and since `first_seen_at` and `place`."""


class WrongDatabase(Exception):
    """The database belongs to another Kafka cluster or version, or cannot store texts; the text says what to do."""


def prepare(engine: Engine) -> str:
    """Creates what is missing and returns the database's epoch. May be called by any process, any number of times.

    Raises:
        WrongDatabase: the tables are of another version of this program, or the encoding is not UTF-8.
    """
    with for_writing(engine).begin() as connection:
        _check_encoding(connection)
        one_at_a_time(connection)
        metadata.create_all(connection)
        _set_once(connection, "schema_version", str(SCHEMA_VERSION))
        if _get(connection, "schema_version") == BEFORE_PLACES:
            _add_places(connection)
        version = _get(connection, "schema_version")
        if version != str(SCHEMA_VERSION):
            raise WrongDatabase(
                f"The database has version {version} of the tables, this program needs {SCHEMA_VERSION}: start the"
                " matching program, or delete the database to have it rebuilt from Kafka."
            )
        return _set_once(connection, "epoch", str(uuid4()))


def _check_encoding(connection: Connection) -> None:
    encoding = encoding_of(connection)
    if encoding != "UTF8":
        raise WrongDatabase(
            f"The database stores texts as {encoding}, this program needs UTF8: create one with"
            " CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0, and name it in SCRUB_DATABASE."
        )


def _add_places(connection: Connection) -> None:
    """Brings tables of version 3 to version 4. Uploads that are not opened yet count as first seen now."""
    connection.exec_driver_sql("ALTER TABLE uploads ADD COLUMN first_seen_at BIGINT")
    connection.exec_driver_sql("ALTER TABLE rows ADD COLUMN place BIGINT")
    connection.execute(update(uploads).where(uploads.c.created_at.is_(None)).values(first_seen_at=datetime.now(UTC)))
    connection.execute(update(meta).where(meta.c.name == "schema_version").values(value=WITH_PLACES))


def cluster_of(connection: Connection) -> str | None:
    """The Kafka cluster whose log the database reflects; None for a new one."""
    return _get(connection, "cluster_id")


def bind_to_cluster(connection: Connection, cluster_id: str) -> None:
    """Makes the database reflect this cluster's log, for good.

    Raises:
        WrongDatabase: it reflects another cluster's log.
    """
    known = _set_once(connection, "cluster_id", cluster_id)
    if known != cluster_id:
        raise WrongDatabase(
            f"The database reflects the Kafka cluster {known}, but SCRUB_KAFKA is the cluster {cluster_id}: point"
            " SCRUB_KAFKA at the first one, or give SCRUB_DATABASE a new database to have it built from this one."
        )


def _get(connection: Connection, name: str) -> str | None:
    return connection.execute(select(meta.c.value).where(meta.c.name == name)).scalar()


def _set_once(connection: Connection, name: str, value: str) -> str:
    connection.execute(insert_or_ignore(connection, meta).values(name=name, value=value))
    return _get(connection, name) or value

"""Owns the database's identity: its schema, its epoch, and the Kafka cluster whose log it reflects."""

from uuid import uuid4

from sqlalchemy import Connection, Engine, select

from services.assembler.store.dialect import for_writing, insert_or_ignore, one_at_a_time
from services.assembler.store.tables import SCHEMA_VERSION, meta, metadata


class WrongDatabase(Exception):
    """The database belongs to another Kafka cluster or another version; the text says what to do."""


def prepare(engine: Engine) -> str:
    """Creates what is missing and returns the database's epoch. May be called by any process, any number of times.

    Raises:
        WrongDatabase: the tables are of another version of this program.
    """
    with for_writing(engine).begin() as connection:
        one_at_a_time(connection)
        metadata.create_all(connection)
        _set_once(connection, "schema_version", str(SCHEMA_VERSION))
        version = _get(connection, "schema_version")
        if version != str(SCHEMA_VERSION):
            raise WrongDatabase(
                f"The database has version {version} of the tables, this program needs {SCHEMA_VERSION}: start the"
                " matching program, or delete the database to have it rebuilt from Kafka."
            )
        return _set_once(connection, "epoch", str(uuid4()))


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

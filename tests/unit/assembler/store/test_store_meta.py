"""Which database the join works with: one it can bring to its own version, and that stores texts as UTF-8."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, select, text, update

from services.assembler.store.dialect import connect
from services.assembler.store.meta import WrongDatabase, prepare
from services.assembler.store.tables import meta, rows, uploads
from tests.fixtures.ids import upload_id
from tests.fixtures.postgres import DATABASES, fresh_schema

U = upload_id("u1")


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    file = nullcontext(f"sqlite:///{tmp_path / 'old.sqlite'}")
    with fresh_schema() if request.param == "postgresql" else file as found:
        yield found


def test_tables_of_the_version_before_are_brought_to_this_one(url: str) -> None:
    engine = connect(url)
    epoch = prepare(engine)
    with engine.begin() as connection:
        connection.execute(uploads.insert().values(id=U))
        connection.execute(rows.insert().values(upload_no=1, row=1, state=0, round=0, cells="[]"))
        connection.exec_driver_sql("ALTER TABLE uploads DROP COLUMN first_seen_at")
        connection.exec_driver_sql("ALTER TABLE rows DROP COLUMN place")
        connection.execute(update(meta).where(meta.c.name == "schema_version").values(value="3"))
    for _ in range(2):
        assert prepare(engine) == epoch
    with engine.connect() as connection:
        assert connection.execute(select(uploads.c.first_seen_at)).scalar_one() is not None
        assert connection.execute(select(rows.c.place)).scalar_one() is None
    engine.dispose()


@contextmanager
def database_of(url: str, encoding: str) -> Iterator[str]:
    """A database of its own, dropped at the end of the block."""
    name = f"t_{encoding.lower()}"
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {name}"))
        connection.execute(
            text(f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
        )
    try:
        yield make_url(url).set(database=name, query={}).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name}"))
        engine.dispose()


@pytest.mark.postgres
@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_cannot_store_every_text_is_refused(postgres_url: str, encoding: str) -> None:
    with database_of(postgres_url, encoding) as url:
        engine = connect(url)
        with pytest.raises(WrongDatabase, match=f"stores texts as {encoding}, this program needs UTF8"):
            prepare(engine)
        engine.dispose()


@pytest.mark.postgres
def test_every_wait_of_a_session_has_an_end(postgres_url: str) -> None:
    engine = connect(postgres_url)
    with engine.connect() as connection:
        for setting in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            assert connection.exec_driver_sql(f"SHOW {setting}").scalar_one() != "0"
        # Psycopg's own connection.
        parameters = connection.connection.dbapi_connection.info.get_parameters()  # type: ignore[union-attr]
    assert {"connect_timeout", "keepalives_idle", "tcp_user_timeout"} <= parameters.keys()
    engine.dispose()

"""Owns the lock that lets only one join write to an SQLite file. The lock ends with the process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.assembler.store.dialect import sqlite_file
from services.runtime.file_lock import try_lock


class DatabaseInUse(Exception):
    """Another join has the database; the text says what to do."""


@contextmanager
def only_writer(url: str) -> Iterator[None]:
    """Holds the lock of an SQLite database until the block ends. Other databases need none: fences keep joins apart.

    Raises:
        DatabaseInUse: another process holds it.
        OSError: the folder cannot be made or written.
    """
    file = sqlite_file(url)
    if file is None:
        yield
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with _lock_file(file).open("a+") as lock:
        if not try_lock(lock):
            raise DatabaseInUse(
                f"Another join (process {_holder(_lock_file(file))}) writes to {file}: SQLite allows one. Stop it, or"
                " set SCRUB_DATABASE to a PostgreSQL database to run several."
            )
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _lock_file(database: Path) -> Path:
    return database.with_name(database.name + ".lock")


def _holder(lock: Path) -> str:
    return lock.read_text(encoding="ascii").strip() or "unknown"

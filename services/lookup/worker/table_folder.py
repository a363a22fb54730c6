"""Owns the data folder of a worker: one worker uses it at a time, and only with data of its own Kafka cluster."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.settings import Settings
from services.runtime.file_lock import try_lock
from services.runtime.process import RefusedToStart


def folder_of(settings: Settings) -> Path:
    return settings.data / f"worker-{settings.instance}"


@contextmanager
def locked_folder(path: Path) -> Iterator[Path]:
    """Creates the folder and holds it until the block ends.

    Raises:
        RefusedToStart: another worker holds it, or it cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / "lock").open("w")
    except OSError as error:
        raise RefusedToStart(
            f"The folder {path} cannot be written ({error.strerror}): set SCRUB_DATA to another."
        ) from None
    with lock:
        if not try_lock(lock):
            raise RefusedToStart(
                f"Another worker uses the folder {path}: give each worker an SCRUB_INSTANCE of its own."
            )
        yield path


def wipe_data_of_other_cluster(path: Path, cluster_id: str) -> bool:
    """Removes the tables of another Kafka cluster and marks the folder. Returns whether it removed any.

    Such tables hold phones whose results are not in this cluster. Rows with these phones would never be answered.
    """
    mark = path / "cluster_id"
    known = mark.read_text(encoding="utf-8") if mark.exists() else None
    foreign = known is not None and known != cluster_id
    if foreign:
        wipe(path)
    mark.write_text(cluster_id, encoding="utf-8")
    return foreign


def wipe(path: Path) -> None:
    """Removes everything in the folder except its lock. The tables are rebuilt from their changelog."""
    for entry in path.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != "lock":
            entry.unlink()

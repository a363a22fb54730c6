"""Owns the lock of a file: it lets one process at a time do something, and ends with the file or the process."""

import fcntl
from typing import IO, Any


def try_lock(file: IO[Any], *, shared: bool = False) -> bool:
    """Whether the open file is now locked by this process; False: another process holds it.

    `shared`: several processes may hold the lock at once, unless one holds it alone.

    Raises:
        OSError: the file system has no locks.
    """
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def wait_for_lock(file: IO[Any]) -> None:
    """Locks the open file, after every other process has released it. Blocks."""
    fcntl.flock(file, fcntl.LOCK_EX)

"""Runs one piece of work in a child process, and ends the process when its parent ends."""

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Callable
from multiprocessing.connection import wait


def child_main(work: Callable[[bytes], None], argument: bytes, niceness: int) -> None:
    """Run `work(argument)`. The process exits with code 1 as soon as the parent is gone."""
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    with contextlib.suppress(OSError):
        os.nice(niceness)
    work(argument)


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)

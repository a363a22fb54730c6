"""What a child process runs: one piece of work, at its niceness, and not a moment longer than its parent lives."""

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Callable
from multiprocessing.connection import wait


def child_main(work: Callable[[bytes], None], argument: bytes, niceness: int) -> None:
    """Runs `work(argument)`; ends with code 1 at once when the parent is gone. What `work` raises ends the process."""
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    with contextlib.suppress(OSError):
        os.nice(niceness)
    work(argument)


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)

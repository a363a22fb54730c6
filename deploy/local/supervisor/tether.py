"""Starts a command that ends when the process that started it does: `python tether.py SIGNAL PARENT COMMAND...`.

Linux tells a process of its parent's death by a signal of its choice, and the choice outlives exec. It is a program of
its own because a parent with threads may run hardly anything safely between fork and exec. Where there is no prctl the
command just starts; the next `up` then ends what a killed supervisor left behind.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(death_signal: int, parent: int, command: list[str]) -> None:
    """Becomes the command."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)  # the parent died before the kernel knew of the wish
    os.execv(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])

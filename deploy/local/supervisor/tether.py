"""Starts a command that ends when the process that started it does: `python tether.py SIGNAL PARENT COMMAND...`.

Linux sends a process a signal of its choice when its parent dies, and the choice survives exec. This is a program on
its own because a parent with threads can safely run hardly anything between fork and exec. Where there is no prctl the
command just starts; the next `up` then ends the processes that a killed supervisor left behind.
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
        os.kill(os.getpid(), signal.SIGKILL)  # the parent died before the kernel was asked
    os.execv(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])

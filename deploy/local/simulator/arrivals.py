"""Reads bytes with the time at which the kernel received them, not the time at which this process read them."""

import socket
import struct
import sys
import time

_SO_TIMESTAMPNS = 35
"""Linux's number for it; Python has no name. Its message is a `struct timespec` of CLOCK_REALTIME."""
_TIMESPEC = struct.Struct("qq")
_RECEIVE_BYTES = 64 * 1024


def ask_for_stamps(listener: socket.socket) -> None:
    """Connections accepted from here on carry stamps, where the system has them (Linux, for TCP since 4.15)."""
    if sys.platform == "linux":
        listener.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)


def receive(connection: socket.socket) -> tuple[bytes, int]:
    """The bytes that can be read, and when the last one arrived in nanoseconds of CLOCK_MONOTONIC; `b""` at the end.

    On a busy machine a process is woken tens of milliseconds after the arrival: enough to move calls from one second
    into another. Where the system gives no stamp, the moment of reading stands for it.

    Raises:
        BlockingIOError: nothing is there.
    """
    data, ancillary, _flags, _address = connection.recvmsg(_RECEIVE_BYTES, socket.CMSG_SPACE(_TIMESPEC.size))
    now_ns = time.monotonic_ns()
    for level, kind, stamp in ancillary:
        if (level, kind, len(stamp)) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS, _TIMESPEC.size):
            seconds, nanoseconds = _TIMESPEC.unpack(stamp)
            age_ns = time.time_ns() - (seconds * 1_000_000_000 + nanoseconds)
            return data, now_ns - max(0, age_ns)
    return data, now_ns

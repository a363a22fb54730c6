"""The time of an arrival is that of the bytes, not of the process that reads them later."""

import socket
import sys
import time

import pytest

from deploy.local.simulator.arrivals import ask_for_stamps, receive


@pytest.fixture
def ends() -> "tuple[socket.socket, socket.socket]":
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ask_for_stamps(listener)
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    return client, server


def test_the_stamp_lies_between_sending_and_the_moment_after_it(ends: tuple[socket.socket, socket.socket]) -> None:
    client, server = ends
    with client, server:
        before = time.monotonic_ns()
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        sent = time.monotonic_ns()
        while time.monotonic_ns() < sent + 20_000_000:
            """A reader that is kept busy."""
        data, arrived = receive(server)
    assert data == b"GET / HTTP/1.1\r\n\r\n"
    assert arrived >= before - 1_000_000
    if sys.platform == "linux":
        assert arrived <= sent + 1_000_000


def test_nothing_more_is_said_as_nothing(ends: tuple[socket.socket, socket.socket]) -> None:
    client, server = ends
    client.close()
    with server:
        assert receive(server)[0] == b""

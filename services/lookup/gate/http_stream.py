"""Owns the bytes of one connection to the provider: limits the length of a reply, and detects unrequested bytes.

A network backend for httpcore. The streams of httpcore read ahead into a hidden buffer. These streams know at any time
whether unread bytes wait that belong to no request.
"""

import asyncio
import socket
import ssl
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, cast

import h11
import httpcore

MAX_EXCHANGE_BYTES = 160 * 1024
"""A body of 64 kB with the frames of its chunks, and a head of 64 kB. Interim responses count as well."""
_READ_BYTES = 4 * 1024
"""h11 parses one read without a pause. Measured: 16 kB of one-byte chunks block the event loop for 49 ms; 16 kB in one
chunk take 0.04 ms."""
_HELD_BYTES = 64 * 1024
_ONE_ADDRESS_SECONDS = 1.0
"""How long one of several addresses is tried before the next: the IPv6 address of a host may be unreachable."""


class ReplyTooLong(Exception):
    """More bytes arrived than any reply may have."""


class StaleConnection(Exception):
    """The provider closed the connection or sent unrequested bytes before the write. The request was not written."""


class _Receiver(asyncio.Protocol):
    """Holds the bytes that were not read yet, and whether more can come."""

    def __init__(self) -> None:
        self.held = bytearray()
        self.ended = False
        self.error: Exception | None = None
        self.transport: asyncio.Transport | None = None
        self._came = asyncio.Event()
        self._may_write = asyncio.Event()
        self._may_write.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The transports of uvloop do not inherit from asyncio's classes.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.held += data
        if len(self.held) > _HELD_BYTES and self.transport is not None:
            self.transport.pause_reading()
        self._came.set()

    def eof_received(self) -> bool:
        self.ended = True
        self._came.set()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.ended, self.error = True, error
        self._came.set()
        self._may_write.set()

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    async def take(self, most_bytes: int) -> bytes:
        """The next bytes; empty when the other side has ended. Always yields to other tasks, even if bytes wait."""
        await asyncio.sleep(0)
        while not self.held and not self.ended:
            self._came.clear()
            await self._came.wait()
        taken = bytes(self.held[:most_bytes])
        del self.held[:most_bytes]
        if len(self.held) <= _HELD_BYTES and not self.ended and self.transport is not None:
            self.transport.resume_reading()
        return taken

    async def written(self) -> None:
        await self._may_write.wait()


class BoundedStream(httpcore.AsyncNetworkStream):
    """One connection. An exchange begins with the first write after a read.

    Raises, besides httpcore's own errors: `StaleConnection` before the first byte of an exchange is written,
    `ReplyTooLong` while its reply is read.
    """

    def __init__(self, transport: asyncio.Transport, receiver: _Receiver) -> None:
        self._transport = transport
        self._receiver = receiver
        self._reply = bytearray()
        self._is_reading = True
        self._is_spoilt = False

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self._is_reading = True
        try:
            async with asyncio.timeout(timeout):
                data = await self._receiver.take(min(max_bytes, _READ_BYTES))
        except TimeoutError as error:
            raise httpcore.ReadTimeout from error
        if not data and self._receiver.error is not None:
            raise httpcore.ReadError(type(self._receiver.error).__name__) from self._receiver.error
        self._reply += data
        if len(self._reply) > MAX_EXCHANGE_BYTES:
            self.spoil()
            raise ReplyTooLong
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if not buffer:
            return
        if self._is_reading:
            if self._may_not_be_used:
                raise StaleConnection
            self._is_reading = False
            self._reply.clear()
        elif self._transport.is_closing():
            raise httpcore.WriteError
        self._transport.write(buffer)
        try:
            async with asyncio.timeout(timeout):
                await self._receiver.written()
        except TimeoutError as error:
            raise httpcore.WriteTimeout from error

    def spoil(self) -> None:
        """Closes the connection, so that no request is written on it any more."""
        self._is_spoilt = True
        self._transport.abort()

    def has_leftover(self, method: str) -> bool:
        """Whether more bytes came than the one reply to the last request. Parses them again to find the reply's end."""
        if self._receiver.held:
            return True
        parser = h11.Connection(our_role=h11.CLIENT)
        parser.send(h11.Request(method=method, target="/", headers=[("host", "provider")]))
        parser.send(h11.EndOfMessage())
        parser.receive_data(bytes(self._reply))
        try:
            while type(parser.next_event()) in (h11.InformationalResponse, h11.Response, h11.Data):
                continue
        except h11.RemoteProtocolError:
            return True
        return bool(parser.trailing_data[0])

    async def aclose(self) -> None:
        self._transport.abort()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> "BoundedStream":
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                secured = await loop.start_tls(
                    self._transport, self._receiver, ssl_context, server_hostname=server_hostname
                )
        except TimeoutError as error:
            self._transport.abort()
            raise httpcore.ConnectTimeout from error
        except OSError as error:
            self._transport.abort()
            raise httpcore.ConnectError(type(error).__name__) from error
        if secured is None:
            raise httpcore.ConnectError("the connection was closed during the handshake")
        self._receiver.transport = secured
        return BoundedStream(secured, self._receiver)

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            # httpcore asks this about an idle connection, and closes it if the answer is yes.
            return self._may_not_be_used
        names = {"ssl_object": "ssl_object", "client_addr": "sockname", "server_addr": "peername", "socket": "socket"}
        return self._transport.get_extra_info(names[info]) if info in names else None

    @property
    def _may_not_be_used(self) -> bool:
        receiver = self._receiver
        return self._is_spoilt or bool(receiver.held) or receiver.ended or self._transport.is_closing()


class BoundedBackend(httpcore.AsyncNetworkBackend):
    """Opens connections whose replies are bounded."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> BoundedStream:
        try:
            async with asyncio.timeout(timeout):
                transport, receiver = await _connect(host, port, local_address)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout from error
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(type(error).__name__) from error
        for option in socket_options or ():
            transport.get_extra_info("socket").setsockopt(*option)
        return BoundedStream(transport, receiver)

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> BoundedStream:
        raise NotImplementedError("the provider is called over TCP")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def _connect(host: str, port: int, local_address: str | None) -> tuple[asyncio.Transport, _Receiver]:
    """Tries the addresses of the host one after the other. Raises the error of the last one."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    local = None if local_address is None else (local_address, 0)
    addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
    for address in addresses[:-1]:
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(_ONE_ADDRESS_SECONDS):
                return await loop.create_connection(_Receiver, address, port, local_addr=local)
    return await loop.create_connection(_Receiver, addresses[-1], port, local_addr=local)

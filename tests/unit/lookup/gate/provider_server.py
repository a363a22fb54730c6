"""A provider made of raw sockets, for what no HTTP server would send."""

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, ParamSpec

import uvloop

P = ParamSpec("P")
Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]
Respond = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Answers every request by what `respond` writes for its head; keeps the heads and counts connections."""

    def __init__(self, respond: Respond) -> None:
        self.port = 0
        self.heads: list[bytes] = []
        self.connections = 0
        self._respond = respond
        self._tasks: set[asyncio.Task[None]] = set()

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._tasks.add(asyncio.create_task(self._serve(reader, writer)))

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                await self._respond(head, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


@asynccontextmanager
async def responding(respond: Respond) -> AsyncIterator[Server]:
    server = Server(respond)
    listening = await asyncio.start_server(server.connected, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        await server.end()
        await listening.wait_closed()


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[Server]:
    async with responding(lambda _head, writer: answer(writer)) as server:
        yield server


def saying(raw: bytes) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()

    return answer


def http(body: bytes, *, status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode() + body


def on_gates_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Runs a test on the event loop of a real gate: its transports differ from asyncio's."""

    @functools.wraps(test)
    def run(*arguments: P.args, **named: P.kwargs) -> None:
        uvloop.run(test(*arguments, **named))

    return run

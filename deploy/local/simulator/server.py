"""Serves a simulated lookup API: strict about its limit, deterministic by phone, every arrival logged.

`GET /lookup?phone=%2B14155550100`, HTTP/1.1 with connections kept alive. An arrival is stamped when the last byte of
its request head comes in, and logged before it is answered, a JSON line each: `{"t_ns": CLOCK_MONOTONIC, "phone",
"status"}`.
"""

import argparse
import asyncio
import json
import signal
import socket
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TextIO
from urllib.parse import parse_qs, unquote, urlsplit

from deploy.local.simulator import answers
from deploy.local.simulator.answers import Reply, reply_to
from deploy.local.simulator.arrivals import ask_for_stamps, receive
from deploy.local.simulator.sliding_limit import SlidingLimit

_HEAD_END = b"\r\n\r\n"
_LARGEST_HEAD_BYTES = 16 * 1024


@dataclass(slots=True)
class Api:
    """What all connections share: the rules, the limit, the attempts so far and the log."""

    log: TextIO
    limit: SlidingLimit
    latency_seconds: float = 0.1
    fail_rate: float = 0.0
    seed: int = 1
    attempts: Counter[str] = field(default_factory=Counter)

    def arrive(self, target: str, *, method: str, t_ns: int) -> Reply:
        """Decides the reply to a request and logs its arrival."""
        phone = phone_of(target)
        reply = self._decide(phone, method=method, t_ns=t_ns)
        self.log.write(json.dumps({"t_ns": t_ns, "phone": phone, "status": reply.status}) + "\n")
        self.log.flush()
        return reply

    def _decide(self, phone: str, *, method: str, t_ns: int) -> Reply:
        if method != "GET":
            return Reply(405, b'{"error":"only GET"}')
        if not phone:
            return Reply(400, b'{"error":"phone is missing"}')
        if not self.limit.admit(t_ns):
            wait = self.limit.wait_seconds(t_ns)
            return Reply(429, b'{"error":"too many requests"}', retry_after_seconds=wait)
        self.attempts[phone] += 1
        return reply_to(phone, seed=self.seed, attempt=self.attempts[phone], fail_rate=self.fail_rate)


def phone_of(target: str) -> str:
    """The phone that a request target asks for: the query's `phone`, else the last part of the path; "" if neither."""
    parts = urlsplit(target)
    asked = parse_qs(parts.query).get("phone")
    last = unquote(parts.path.rpartition("/")[2])
    return asked[0] if asked else last if last.lstrip("+").isdecimal() else ""


class ArrivalOrder:
    """Lets connections that became readable together have their turns in the order in which the requests arrived."""

    def __init__(self) -> None:
        self._arrived: list[tuple[int, Callable[[], None]]] = []

    def add(self, t_ns: int, turn: Callable[[], None]) -> None:
        if not self._arrived:
            asyncio.get_running_loop().call_soon(self._take)
        self._arrived.append((t_ns, turn))

    def _take(self) -> None:
        arrived, self._arrived = self._arrived, []
        for _, turn in sorted(arrived, key=lambda each: each[0]):
            turn()


class Connection:
    """One client connection. Requests have no body; pipelined ones are answered in order, one at a time."""

    def __init__(self, api: Api, connection: socket.socket, turns: "ArrivalOrder") -> None:
        self._api = api
        self._turns = turns
        self._socket = connection
        self._loop = asyncio.get_running_loop()
        self._buffer = b""
        self._heads: list[tuple[bytes, int]] = []
        self._answering: asyncio.Task[None] | None = None
        self._silent = False
        self._loop.add_reader(connection, self._readable)

    def close(self) -> None:
        if self._answering is not None:
            self._answering.cancel()
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _readable(self) -> None:
        try:
            data, t_ns = receive(self._socket)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        *heads, self._buffer = (self._buffer + data).split(_HEAD_END)
        if not data or len(self._buffer) > _LARGEST_HEAD_BYTES:
            self.close()
            return
        self._heads += [(head, t_ns) for head in heads]
        self._turns.add(t_ns, self.next)

    def next(self) -> None:
        """Takes the next request, unless one is being answered."""
        if self._answering is not None or self._silent or not self._heads:
            return
        head, t_ns = self._heads.pop(0)
        line, _, headers = head.decode("latin-1").partition("\r\n")
        method, _, rest = line.partition(" ")
        reply = self._api.arrive(rest.partition(" ")[0], method=method, t_ns=t_ns)
        if reply.manner == "silence":
            self._silent = True
            return
        # What follows another method's head may be a body, which nobody reads here.
        wants_close = method != "GET" or "\r\nconnection: close" in f"\r\n{headers.lower()}"
        self._answering = self._loop.create_task(self._answer(reply, wants_close))

    async def _answer(self, reply: Reply, wants_close: bool) -> None:
        await asyncio.sleep(self._api.latency_seconds)
        if reply.manner == "answer":
            with suppress(OSError):
                await self._loop.sock_sendall(self._socket, render(reply))
        self._answering = None
        if wants_close or reply.manner == "hang_up":
            self.close()
            return
        self.next()


def render(reply: Reply) -> bytes:
    """The reply as HTTP/1.1."""
    lines = [
        f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}",
        f"Content-Type: {reply.content_type}",
        f"Content-Length: {len(reply.body)}",
    ]
    if reply.retry_after_seconds is not None:
        lines.append(f"Retry-After: {reply.retry_after_seconds}")
    return "\r\n".join(lines).encode() + _HEAD_END + reply.body


async def serve(api: Api, *, host: str, port: int, stop: asyncio.Event) -> None:
    """Serves until `stop` is set.

    Raises:
        OSError: the address is not there, or the port not free.
    """
    with socket.create_server((host, port), backlog=512) as listener:
        listener.setblocking(False)
        ask_for_stamps(listener)
        bound = listener.getsockname()[1]
        print(f"the simulated lookup API listens on http://{host}:{bound}/lookup", flush=True)
        accepting = asyncio.create_task(_accept(api, listener))
        await stop.wait()
        accepting.cancel()


async def _accept(api: Api, listener: socket.socket) -> None:
    loop, turns = asyncio.get_running_loop(), ArrivalOrder()
    while True:
        connection, _address = await loop.sock_accept(listener)
        Connection(api, connection, turns)


def parser() -> argparse.ArgumentParser:
    """The command line; its help lists the special numbers."""
    made = argparse.ArgumentParser(
        "python -m deploy.local.simulator",
        description=__doc__,
        epilog=answers.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--port", type=int, default=8900, help="8900 unless set; 0: a free one, which is printed")
    made.add_argument("--host", default="127.0.0.1", help="address to bind; 0.0.0.0 in a container (default loopback)")
    made.add_argument("--log", type=Path, required=True, help="file that gets one JSON line an arrival; appended to")
    made.add_argument("--limit", type=_count, default=10, help="calls in any sliding window; 0: no limit (default 10)")
    made.add_argument("--window-seconds", type=_seconds, default=1.0, help="length of the window (default 1)")
    made.add_argument("--latency-ms", type=_count, default=100, help="from arrival to reply (default 100)")
    made.add_argument("--fail-rate", type=_share, default=0.0, help="share of attempts answered 503 (default 0)")
    made.add_argument("--seed", type=int, default=1, help="another seed, other answers (default 1)")
    return made


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("must be 0 or more")
    return number


def _seconds(text: str) -> float:
    seconds = float(text)
    if not seconds > 0:
        raise argparse.ArgumentTypeError("must be more than 0")
    return seconds


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError("must be from 0 to 1")
    return share


async def _serve_until_signal(flags: argparse.Namespace, log: TextIO) -> None:
    limit = SlidingLimit(flags.limit, window_seconds=flags.window_seconds)
    api = Api(log, limit, flags.latency_ms / 1000, flags.fail_rate, flags.seed)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(api, host=flags.host, port=flags.port, stop=stop)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the simulator; returns the exit code: 0 stopped, 1 not started, 2 usage."""
    flags = parser().parse_args(arguments)
    try:
        with flags.log.open("a", encoding="utf-8") as log:
            asyncio.run(_serve_until_signal(flags, log))
    except OSError as error:
        what = f"The log {flags.log}" if error.filename else f"Port {flags.port} on {flags.host}"
        print(f"{what} cannot be used ({error.strerror}): choose another.", file=sys.stderr)
        return 1
    return 0

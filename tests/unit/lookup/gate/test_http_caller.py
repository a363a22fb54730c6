"""One call over a real socket: what the provider may do to it, and that nothing is written without a permit."""

import asyncio

import pytest

from deploy.local.broker import free_port
from schemas.lookups import PhoneData
from services.lookup.gate.http_caller import HttpCaller, Withdrawn
from services.lookup.gate.limiter import Limiter
from services.lookup.gate.pacer import Admission, Pacer
from services.lookup.gate.scheduler import Call, CallScheduler
from services.lookup.providers.generic import GenericProvider
from services.lookup.providers.protocol import Found, Reply, Wait
from tests.unit.lookup.gate.provider_server import http, saying, serving
from tests.unit.lookup.gate.requests import request

SECOND = 1_000_000_000


def a_call() -> Call:
    scheduler = CallScheduler(provider="generic", max_attempts=1, random=lambda: 0.0)
    entry = scheduler.fold.queue.want(request(1), offset=0, priority=3, paused=False)
    assert scheduler.fold.queue.take() is not None
    return Call(entry=entry, payer="u1", probe=False)


async def call_once(port: int, *, verdict: Admission = Admission.GO) -> tuple[Reply, Call, Limiter]:
    limiter = Limiter(rate=10, window_ns=SECOND)
    provider = GenericProvider(url=f"http://127.0.0.1:{port}/lookup", key=None)
    made = a_call()
    async with HttpCaller(provider, limiter, timeout_seconds=0.5) as caller:
        reply = await caller.call(made, lambda: verdict, on_written=lambda: None)
    return reply, made, limiter


async def test_an_answer() -> None:
    async with serving(saying(http(b'{"valid":true,"line_type":"mobile"}'))) as server:
        reply, made, _ = await call_once(server.port)
    assert reply == Found(PhoneData(line_type="mobile"))
    assert made.written
    assert len(server.heads) == 1
    assert server.heads[0].startswith(b"GET /lookup?phone=%2B")


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (http(b"x" * 70_000), "too_large"),
        (http(b"", status="302 Found", headers="location: /elsewhere\r\n"), "http_302"),
        (http(b"\x1f\x8b\x08\x00", headers="content-encoding: gzip\r\n"), "encoded"),
        (b"not http at all\r\n\r\n", "not_http"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort", "timeout"),
    ],
)
async def test_what_is_no_answer_is_tried_again_and_costs_one_request(raw: bytes, code: str) -> None:
    async with serving(saying(raw)) as server:
        reply, made, limiter = await call_once(server.port)
    assert isinstance(reply, Wait)
    assert reply.code == code
    assert made.written
    assert len(server.heads) == 1
    assert limiter.writes_since(-1) == 1


async def test_a_provider_that_hangs_up() -> None:
    async def hang_up(_writer: asyncio.StreamWriter) -> None:
        raise ConnectionResetError

    async with serving(hang_up) as server:
        reply, made, _ = await call_once(server.port)
    assert isinstance(reply, Wait)
    assert (reply.code, made.written) == ("no_connection", True)


@pytest.mark.parametrize("drip", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n"])
async def test_a_whole_answer_has_to_come_in_time(drip: bytes) -> None:
    async def trickle(writer: asyncio.StreamWriter) -> None:
        writer.write(drip)
        while drip:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with serving(trickle) as server:
        reply, made, _ = await call_once(server.port)
    assert isinstance(reply, Wait)
    assert (reply.code, made.written) == ("timeout", True)


async def test_a_provider_that_cannot_be_reached_was_not_called() -> None:
    reply, made, limiter = await call_once(free_port())
    assert isinstance(reply, Wait)
    assert (reply.code, made.written) == ("no_connection", False)
    assert limiter.writes_since(-1) == 0


async def test_a_call_withdrawn_at_the_socket_writes_nothing() -> None:
    async with serving(saying(http(b"{}"))) as server:
        with pytest.raises(Withdrawn):
            await call_once(server.port, verdict=Admission.DROP)
    assert server.heads == []


async def test_a_connection_that_ended_while_the_call_waited_for_its_permit_is_not_written_to() -> None:
    """As after an outage of Kafka, in which calls wait at the socket: it would be an attempt for nothing."""
    ended = asyncio.Event()

    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        await writer.wait_closed()
        ended.set()

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    limiter = Limiter(rate=10, window_ns=SECOND)
    provider = GenericProvider(url=f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/lookup", key=None)
    made = a_call()
    verdicts = iter([Admission.HOLD] * 20)
    async with HttpCaller(provider, limiter, timeout_seconds=5) as caller:
        with pytest.raises(Withdrawn):
            await caller.call(
                made,
                lambda: Admission.GO if ended.is_set() and next(verdicts, None) is None else Admission.HOLD,
                on_written=lambda: None,
            )
    listening.close()
    await listening.wait_closed()
    assert not made.written


async def test_a_call_that_waits_too_long_for_its_permit_gives_its_connection_up() -> None:
    limiter = Limiter(rate=10, window_ns=SECOND)
    pacer = Pacer(limiter, patience_seconds=0.05)
    with pytest.raises(Withdrawn):
        await pacer.permit(lambda: Admission.HOLD)
    assert limiter.writes_since(-1) == 0

"""A provider that does harm: every reply ends as a value with a code, and the next call on the same client is right."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from schemas.lookups import PhoneData
from services.lookup.gate.http_caller import HttpCaller
from services.lookup.gate.http_stream import MAX_EXCHANGE_BYTES
from services.lookup.gate.limiter import Limiter
from services.lookup.gate.pacer import Admission
from services.lookup.gate.scheduler import Call, CallScheduler
from services.lookup.providers.generic import GenericProvider
from services.lookup.providers.protocol import AccountProblem, Found, HttpRequest, HttpResponse, NotValid, Reply, Wait
from tests.support.waiting import eventually
from tests.unit.lookup.gate.provider_server import http, on_gates_loop, responding
from tests.unit.lookup.gate.requests import phone, request

pytestmark = pytest.mark.hostile

SECOND = 1_000_000_000
HEAD = b"HTTP/1.1 200 OK\r\n"
GOOD = b'{"valid":true,"line_type":"mobile"}'


def answer_naming(number: str) -> bytes:
    return http(f'{{"phone":"{number}","valid":true,"carrier":"of {number[-4:]}"}}'.encode())


def phone_in(head: bytes) -> str:
    return "+" + head.split(b"phone=%2B", 1)[1].split(b" ", 1)[0].decode()


@dataclass(frozen=True)
class Case:
    """What the provider sends for the first phone. `closes`: and then ends the connection; None: goes on with it."""

    name: str
    raw: bytes
    code: str
    closes: bool = False


def ok(body: bytes, headers: str = "") -> bytes:
    return http(body, headers=headers)


def retry_after(value: str) -> bytes:
    return http(b"", status="503 Busy", headers=f"retry-after: {value}\r\n")


CASES = [
    Case("redirect to mailto", http(b"", status="302 Found", headers="location: mailto:x\r\n"), "http_302"),
    Case("redirect to a broken host", http(b"", status="301 Gone", headers="location: http://xn--/\r\n"), "http_301"),
    Case("redirect to itself", http(b"", status="307 Again", headers="location: /\r\n"), "http_307"),
    Case("redirect that is not text", b"HTTP/1.1 302 X\r\nlocation: \xff\r\ncontent-length: 0\r\n\r\n", "http_302"),
    Case("no content", b"HTTP/1.1 204 No Content\r\n\r\n", "http_204"),
    Case("partial content", http(GOOD, status="206 Partial"), "http_206"),
    Case("switching protocols", b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", "not_http"),
    Case("a status that is none", http(GOOD, status="999 What"), "http_999"),
    Case("a status of letters", b"HTTP/1.1 OK\r\n\r\n", "not_http"),
    Case("not http", b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "not_http"),
    Case("http 2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "not_http"),
    Case("nothing", b"", "no_connection", closes=True),
    Case("half a head", HEAD + b"content-le", "no_connection", closes=True),
    Case("half a body", HEAD + b"content-length: 1000\r\n\r\n" + GOOD, "truncated", closes=True),
    Case("half a chunk", HEAD + b"transfer-encoding: chunked\r\n\r\nff\r\n{", "truncated", closes=True),
    Case("chunks of garbage", HEAD + b"transfer-encoding: chunked\r\n\r\nxyz\r\n{}\r\n0\r\n\r\n", "broken_body"),
    Case("a chunk of minus one", HEAD + b"transfer-encoding: chunked\r\n\r\n-1\r\n{}\r\n", "broken_body"),
    Case("a chunk without end", HEAD + b"transfer-encoding: chunked\r\n\r\n" + b"f" * 21 + b"\r\n", "broken_body"),
    Case("two lengths", HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\n{}", "not_http"),
    Case("a length below nought", HEAD + b"content-length: -1\r\n\r\n{}", "not_http"),
    Case("an absurd length", HEAD + b"content-length: " + b"9" * 5000 + b"\r\n\r\n{}", "not_http"),
    Case("a head of 200 kB", HEAD + b"x: " + b"y" * 200_000 + b"\r\n\r\n", "head_too_large"),
    Case("ten thousand headers", HEAD + b"".join(b"x-%d: 1\r\n" % n for n in range(20_000)), "head_too_large"),
    Case("interim responses for ever", b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000, "too_many_interim"),
    Case("early hints for ever", b"HTTP/1.1 103 Hints\r\nlink: </x>\r\n\r\n" * 10_000, "too_many_interim"),
    Case("a body of 1 MB", ok(b" " * 1_000_000), "too_large"),
    Case("a chunk of 1 MB", HEAD + b"transfer-encoding: chunked\r\n\r\n100000\r\n" + b" " * 0x100000, "too_large"),
    Case("chunks of a byte", HEAD + b"transfer-encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 20_000, "too_many_pieces"),
    Case("gzip", ok(b"\x1f\x8b\x08\x00", "content-encoding: gzip\r\n"), "encoded"),
    Case("gzip in gzip", ok(b"\x1f\x8b\x08\x00", "content-encoding: identity, gzip, gzip\r\n"), "encoded"),
    Case("an encoding unheard of", ok(GOOD, "content-encoding: zstd-dcz\r\n"), "encoded"),
    Case("not json", ok(b"<html>"), "garbage"),
    Case("json in utf-16", ok('{"valid":true}'.encode("utf-16")), "garbage"),
    Case("no object", ok(b"[true]"), "garbage"),
    Case("deep", ok(b"[" * 60_000), "garbage"),
    Case("nan", ok(b'{"valid":true,"score":NaN}'), "not_finite"),
    Case("infinity", ok(b'{"valid":true,"score":-Infinity}'), "not_finite"),
    Case("a float too large", ok(b'{"valid":true,"score":1e999}'), "not_finite"),
    Case("a huge integer", ok(b'{"valid":true,"n":' + b"9" * 60_000 + b"}"), "huge_number"),
    Case("a key twice", ok(b'{"valid":false,"valid":true}'), "duplicate_keys"),
    Case("valid of a wrong type", ok(b'{"valid":1}'), "garbage"),
    Case("another phone", ok(b'{"phone":"+19999999999","valid":true}'), "wrong_phone"),
    Case("a phone that is a number", ok(b'{"phone":12005550101,"valid":true}'), "wrong_phone"),
    Case("a phone that is a list", ok(b'{"phone":["+12005550101"],"valid":true}'), "wrong_phone"),
    Case("a phone of words", ok(b'{"phone":"unknown","valid":true}'), "wrong_phone"),
    Case("a phone of 60 kB", ok(b'{"phone":"' + b"1" * 60_000 + b'","valid":true}'), "wrong_phone"),
    Case("slow down", http(b"", status="429 X", headers="retry-after: 99999999999999999999\r\n"), "throttled"),
    Case("patience of a year", retry_after("Mon, 01 Jan 2024 00:00:00 +99999999999999999"), "http_503"),
    Case("patience with a bad month", retry_after("Mon, 99 Foo 99999 99:99:99 GMT"), "http_503"),
    Case("patience in another script", retry_after("٣"), "http_503"),
    Case("patience of nothing", retry_after(""), "http_503"),
    Case("patience and NUL", http(b"", status="503 X", headers="retry-after: 1\x002\r\n"), "not_http"),
]


class Client:
    """One client of one server, making one call after the other."""

    def __init__(self, caller: HttpCaller) -> None:
        self._caller = caller
        self._queue = CallScheduler(provider="generic", max_attempts=1, random=lambda: 0.0).fold.queue

    async def call(self, number: int) -> Reply:
        entry = self._queue.want(request(number), offset=0, priority=3, paused=False)
        made = Call(entry=entry, payer="u1", probe=False)
        return await self._caller.call(made, lambda: Admission.GO, on_written=lambda: None)


def client_of(port: int, *, timeout_seconds: float = 5.0) -> HttpCaller:
    limiter = Limiter(rate=20, window_ns=SECOND)
    provider = GenericProvider(url=f"http://127.0.0.1:{port}/lookup", key=None)
    return HttpCaller(provider, limiter, timeout_seconds=timeout_seconds)


def found(number: int) -> Found:
    return Found(PhoneData(carrier=f"of {phone(number)[-4:]}"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@on_gates_loop
async def test_every_reply_has_a_code_and_harms_no_other_call(case: Case) -> None:
    async def respond(head: bytes, writer: asyncio.StreamWriter) -> None:
        if phone_in(head) != phone(1):
            writer.write(answer_naming(phone_in(head)))
            return
        writer.write(case.raw)
        if case.closes:
            writer.close()

    async with responding(respond) as server, client_of(server.port) as caller:
        client = Client(caller)
        reply = await client.call(1)
        assert isinstance(reply, Wait)
        assert reply.code == case.code
        assert reply.retry_after_seconds is None or 0 <= reply.retry_after_seconds <= 3600
        assert phone(1) not in reply.detail
        assert [await client.call(number) for number in (2, 3)] == [found(2), found(3)]
        assert [phone_in(head) for head in server.heads] == [phone(1), phone(2), phone(3)]


def test_each_kind_of_trouble_has_a_code_of_its_own() -> None:
    assert len({case.code for case in CASES}) >= 22


@pytest.mark.parametrize(
    "named", ['"+12005550101"', '"12005550101"', '"(200) 555-0101"', '"tel:+1-200-555-0101"', "null"]
)
@on_gates_loop
async def test_a_reply_may_name_its_phone_in_any_notation(named: str) -> None:
    async def respond(_head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(ok(f'{{"phone":{named},"valid":false}}'.encode()))

    async with responding(respond) as server, client_of(server.port) as caller:
        assert await Client(caller).call(1) == NotValid()


@pytest.mark.parametrize("names_its_phone", [True, False])
@on_gates_loop
async def test_a_second_reply_left_on_the_connection_is_never_the_next_calls(names_its_phone: bool) -> None:
    def answer(number: str) -> bytes:
        unnamed = f'{{"valid":true,"carrier":"of {number[-4:]}"}}'.encode()
        return answer_naming(number) if names_its_phone else http(unnamed)

    async def respond(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(phone_in(head)) + answer(phone(99)))

    async with responding(respond) as server, client_of(server.port) as caller:
        client = Client(caller)
        assert [await client.call(number) for number in range(4)] == [found(number) for number in range(4)]
        assert server.connections == 4


@on_gates_loop
async def test_bytes_that_come_unasked_between_two_calls_close_the_connection() -> None:
    came = asyncio.Event()

    async def respond(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer_naming(phone_in(head)))
        if phone_in(head) == phone(1):
            await writer.drain()
            await came.wait()
            writer.write(http(GOOD))
            await writer.drain()

    async with responding(respond) as server, client_of(server.port) as caller:
        client = Client(caller)
        assert await client.call(1) == found(1)
        came.set()
        await eventually(
            lambda: all_idle_connections_are_readable(caller), what="bytes to wait", seconds=5, pause_seconds=0
        )
        assert await client.call(2) == found(2)
        assert server.connections == 2


@on_gates_loop
async def test_a_warm_connection_is_used_again() -> None:
    async def respond(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer_naming(phone_in(head)))

    async with responding(respond) as server, client_of(server.port) as caller:
        client = Client(caller)
        assert [await client.call(number) for number in range(5)] == [found(number) for number in range(5)]
        assert server.connections == 1


@on_gates_loop
async def test_no_cookie_is_ever_sent_back() -> None:
    async def respond(head: bytes, writer: asyncio.StreamWriter) -> None:
        number = phone_in(head)
        cookie = f"set-cookie: c{number[-4:]}={'x' * 100}; path=/\r\n"
        writer.write(http(f'{{"phone":"{number}","valid":false}}'.encode(), headers=cookie))

    async with responding(respond) as server, client_of(server.port) as caller:
        client = Client(caller)
        for number in range(20):
            assert await client.call(number) == NotValid()
    assert not [head for head in server.heads if b"cookie" in head.lower()]
    assert len({len(head) for head in server.heads}) == 1


DRIPS = {
    "head": (HEAD + b"x-slow: ", b"y"),
    "headers": (HEAD, b"x: y\r\n"),
    "body": (HEAD + b"content-length: 60000\r\n\r\n", b" "),
    "chunks": (HEAD + b"transfer-encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "interim": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}


@pytest.mark.parametrize("where", DRIPS)
@on_gates_loop
async def test_a_reply_that_drips_ends_with_the_time_for_the_whole_call(where: str) -> None:
    begin, drop = DRIPS[where]
    gone = asyncio.Event()

    async def respond(_head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(begin)
        try:
            while True:
                writer.write(drop)
                await writer.drain()
                await asyncio.sleep(0.02)
        except (ConnectionError, RuntimeError) as error:
            # Whether asyncio or uvloop notices first that the caller has closed the connection, they say it so.
            gone.set()
            raise ConnectionError from error

    async with responding(respond) as server, client_of(server.port, timeout_seconds=0.3) as caller:
        async with asyncio.timeout(3):
            reply = await Client(caller).call(1)
            await gone.wait()
    assert isinstance(reply, Wait)
    assert reply.code == "timeout"


@on_gates_loop
async def test_a_flood_is_not_read_to_its_end() -> None:
    sent = 0

    async def respond(_head: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        while True:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
            await writer.drain()
            sent += 2_500

    async with responding(respond) as server, client_of(server.port) as caller:
        reply = await Client(caller).call(1)
    assert isinstance(reply, Wait)
    assert reply.code == "too_many_interim"
    # What sockets and buffers hold on the way, besides what was read.
    assert sent < MAX_EXCHANGE_BYTES + 16_000_000


@on_gates_loop
async def test_a_tls_record_that_is_broken() -> None:
    async def respond(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x16\x03\x03\xff\xff" + b"\x00" * 100)
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(respond, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    provider = GenericProvider(url=f"https://127.0.0.1:{port}/lookup", key=None)
    async with HttpCaller(provider, Limiter(rate=10, window_ns=SECOND), timeout_seconds=5) as caller:
        reply = await Client(caller).call(1)
    listening.close()
    await listening.wait_closed()
    assert isinstance(reply, Wait)
    assert reply.code == "broken_tls"
    assert issubclass(ssl.SSLError, OSError)


class Broken:
    """An adapter with a bug."""

    name = "broken"

    def __init__(self, port: int, error: Exception, *, when: str) -> None:
        self._generic = GenericProvider(url=f"http://127.0.0.1:{port}/lookup", key=None)
        self._error = error
        self._when = when

    def build_request(self, number: str) -> HttpRequest:
        if self._when == "building" and number == phone(1):
            raise self._error
        return self._generic.build_request(number)

    def read_response(self, number: str, response: HttpResponse) -> Reply:
        if self._when == "reading" and number == phone(1):
            raise self._error
        return self._generic.read_response(number, response)


@pytest.mark.parametrize("when", ["building", "reading"])
@pytest.mark.parametrize(
    "error", [AttributeError("+12005550101"), OverflowError(), UnicodeError(), RuntimeError(), KeyError("+12005550101")]
)
@on_gates_loop
async def test_whatever_is_raised_is_a_wait_and_its_text_is_not_told(
    when: str, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def respond(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer_naming(phone_in(head)))

    async with responding(respond) as server:
        limiter = Limiter(rate=20, window_ns=SECOND)
        async with HttpCaller(Broken(server.port, error, when=when), limiter, timeout_seconds=5) as caller:
            client = Client(caller)
            reply = await client.call(1)
            assert await client.call(2) == found(2)
    assert isinstance(reply, Wait)
    assert reply.code in ("unforeseen", "bad_address")
    assert "5550101" not in reply.detail + caplog.text


@pytest.mark.parametrize("url", ["http://xn--/", "http://" + "a" * 64 + ".test/", "http://[::1", "mailto:x"])
@on_gates_loop
async def test_an_address_that_cannot_be_called_is_a_wait_too(url: str) -> None:
    limiter = Limiter(rate=100, window_ns=SECOND)
    async with HttpCaller(GenericProvider(url=url, key=None), limiter, timeout_seconds=5) as caller:
        reply = await Client(caller).call(1)
    assert isinstance(reply, Wait)
    assert reply.code in ("bad_address", "no_connection")
    assert limiter.writes_since(-1) == 0


@on_gates_loop
async def test_a_refused_account_keeps_its_connection() -> None:
    async def respond(head: bytes, writer: asyncio.StreamWriter) -> None:
        is_first = phone_in(head) == phone(1)
        writer.write(http(b"no", status="401 X") if is_first else answer_naming(phone_in(head)))

    async with responding(respond) as server, client_of(server.port) as caller:
        client = Client(caller)
        assert isinstance(await client.call(1), AccountProblem)
        assert await client.call(2) == found(2)
        assert server.connections == 1


def all_idle_connections_are_readable(caller: HttpCaller) -> bool:
    """httpcore sees that bytes wait on each of its idle connections, and would open a new one."""
    pool = caller._clients[0]._transport._pool  # type: ignore[attr-defined]  # looks into httpx's pool
    return bool(pool.connections) and all(connection.has_expired() for connection in pool.connections)


async def turns() -> AsyncIterator[None]:
    while True:
        yield
        await asyncio.sleep(0)

"""Makes one lookup over HTTP: a warm connection, a permit at the socket, one attempt, no redirects, a bounded reply."""

import asyncio
import itertools
import logging
import math
import ssl
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from http.cookiejar import CookieJar
from time import monotonic_ns
from typing import Any

import httpx

from services.lookup.gate.http_stream import BoundedBackend, BoundedStream, StaleConnection
from services.lookup.gate.limiter import Limiter, Permit
from services.lookup.gate.pacer import Admission, Pacer, Withdrawn
from services.lookup.gate.reply_errors import BodyTooLarge, TooManyPieces, wait_for
from services.lookup.gate.scheduler import Call
from services.lookup.providers.protocol import MAX_BODY_BYTES, Found, HttpResponse, NotValid, Provider, Reply, Wait

_STARTED = "http11.send_request_headers.started"
_WRITTEN = ("http11.send_request_headers.complete", "http11.send_request_headers.failed")
_KEEPALIVE_SECONDS = 4.0
"""Shorter than the usual five of servers: a request on a connection that was just closed would be a wasted call."""
_CALLS_PER_SECOND_AND_POOL = 25
"""httpcore compares all pairs of a pool's connections for each request: 80 connections in one pool cost 4 ms a call."""
_MOST_PIECES = 2_000
"""A body in more pieces is not read to its end. Measured: a piece costs 0.02 ms, as much as eight kB in one piece."""
log = logging.getLogger(__name__)


class HttpCaller:
    """Calls the provider. Use as an async context manager."""

    def __init__(self, provider: Provider, limiter: Limiter, *, timeout_seconds: float) -> None:
        self._provider = provider
        self._limiter = limiter
        self._pacer = Pacer(limiter, patience_seconds=_KEEPALIVE_SECONDS)
        self._timeout_seconds = timeout_seconds
        pools = math.ceil(limiter.calls_per_second / _CALLS_PER_SECOND_AND_POOL)
        tls = httpx.create_ssl_context()
        self._clients = [_make_client(tls, timeout_seconds) for _ in range(pools)]
        self._turns = itertools.cycle(self._clients)

    async def __aenter__(self) -> "HttpCaller":
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients:
            await client.aclose()

    async def call(self, call: Call, admit: Callable[[], Admission], *, on_written: Callable[[], None]) -> Reply:
        """The provider's reply. If the exchange fails, a `Wait` gives the reason.

        1. Connect.
        2. Wait for a permit. `admit` is asked right before it is given.
        3. Write the request. `call.written` is set before the write, because the request may arrive from then on.
        4. Call `on_written` after the write, before any other task runs.
        5. Read the reply.

        Raises:
            Withdrawn: the call is not made after all, or its connection had ended. Nothing was written.
        """
        attempt = _Attempt(call, self._limiter, lambda: self._pacer.permit(admit), on_written, self._timeout_seconds)
        try:
            async with asyncio.timeout(None) as deadline:
                attempt.deadline = deadline
                return await self._exchange(call.phone, attempt)
        except Withdrawn:
            raise
        except StaleConnection:
            attempt.was_not_written()
            raise Withdrawn from None
        except Exception as error:
            return self._explain(error, attempt)
        finally:
            attempt.finished()

    async def _exchange(self, phone: str, attempt: "_Attempt") -> Reply:
        wanted = self._provider.build_request(phone)
        client = next(self._turns)
        request = client.build_request(
            wanted.method,
            wanted.url,
            headers=dict(wanted.headers),
            content=wanted.body,
            extensions={"trace": attempt.trace},
        )
        # 1. to 4. Connect, wait for the permit, write: httpx calls `attempt.trace` in between.
        response = await client.send(request, stream=True)
        attempt.has_head = True
        # 5. Read the reply.
        try:
            body = await _read(response)
            received = HttpResponse(response.status_code, _lower(response.headers), body, received_at=datetime.now(UTC))
            reply = self._provider.read_response(phone, received)
            _keep_or_close(response, wanted.method, reply)
        finally:
            await response.aclose()
        return reply

    def _explain(self, error: Exception, attempt: "_Attempt") -> Wait:
        wait = wait_for(error, has_head=attempt.has_head, timeout_seconds=self._timeout_seconds)
        if wait.code == "unforeseen":
            # The texts of the error and of its causes may hold the phone.
            log.error("a call ended with an unforeseen error: %s", type(error).__name__)
        return wait


class _Attempt:
    """One call on its way through httpx. It takes and returns the permit, and alone sets `call.written`."""

    def __init__(
        self,
        call: Call,
        limiter: Limiter,
        permit: Callable[[], Awaitable[Permit]],
        on_written: Callable[[], None],
        timeout_seconds: float,
    ) -> None:
        self.deadline: asyncio.Timeout | None = None
        self.has_head = False
        self._call = call
        self._limiter = limiter
        self._next_permit = permit
        self._on_written = on_written
        self._timeout_seconds = timeout_seconds
        self._permit: Permit | None = None
        self._is_write_noted = False

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """httpcore calls this after connect and TLS: right before it writes, and right after."""
        if event == _STARTED and info["request"].method != b"CONNECT":
            # 2. Wait for the permit. 3. The write follows at once.
            self._permit = await self._next_permit()
            self._call.written = True
        elif event in _WRITTEN and self._permit is not None and not self._is_write_noted:
            # 4. Note the write.
            self._note_written(self._permit)
            if self.deadline is not None:
                self.deadline.reschedule(asyncio.get_running_loop().time() + self._timeout_seconds)

    def was_not_written(self) -> None:
        """The connection had ended before the first byte."""
        self._call.written = False

    def finished(self) -> None:
        """The exchange is over: returns the permit."""
        if self._permit is not None:
            if not self._is_write_noted:
                self._note_written(self._permit)
            self._limiter.finished(self._permit, monotonic_ns())

    def _note_written(self, permit: Permit) -> None:
        self._is_write_noted = True
        self._limiter.written(permit, monotonic_ns())
        self._on_written()


class _NoCookies(CookieJar):
    """Stores no cookie and sends none."""

    def extract_cookies(self, *_: object) -> None:
        return

    def add_cookie_header(self, *_: object) -> None:
        return


async def _follow_nothing(response: httpx.Response) -> None:
    """httpx parses the target of a redirect even if it does not follow it, and raises if the target is no URL."""
    response.headers.pop("location", None)


def _make_client(tls: ssl.SSLContext, timeout_seconds: float) -> httpx.AsyncClient:
    client = httpx.AsyncClient(
        verify=tls,
        http1=True,
        http2=False,
        follow_redirects=False,
        cookies=_NoCookies(),
        event_hooks={"response": [_follow_nothing]},
        timeout=httpx.Timeout(timeout_seconds, pool=None),
        limits=httpx.Limits(keepalive_expiry=_KEEPALIVE_SECONDS),
    )
    # httpx has no parameter for httpcore's network backend, and a custom transport would ignore proxies.
    for transport in (client._transport, *client._mounts.values()):
        if isinstance(transport, httpx.AsyncHTTPTransport):
            transport._pool._network_backend = BoundedBackend()
    return client


async def _read(response: httpx.Response) -> bytes:
    """The body as it was sent. It is not decompressed, so that a small body cannot become a huge one."""
    body = bytearray()
    pieces = 0
    async for piece in response.aiter_raw():
        body += piece
        pieces += 1
        if len(body) > MAX_BODY_BYTES:
            raise BodyTooLarge
        if pieces > _MOST_PIECES:
            raise TooManyPieces
    return bytes(body)


def _keep_or_close(response: httpx.Response, method: str, reply: Reply) -> None:
    """A connection is used again only if it brought exactly one reply.

    Further bytes would be taken for the reply to the next request. A reply about another phone may itself be late.
    """
    stream = response.extensions.get("network_stream")
    if not isinstance(stream, BoundedStream):
        return
    is_plain = isinstance(reply, Found | NotValid) or response.status_code != 200
    if not is_plain or stream.has_leftover(method):
        stream.spoil()


def _lower(headers: httpx.Headers) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


__all__ = ["HttpCaller", "Withdrawn"]

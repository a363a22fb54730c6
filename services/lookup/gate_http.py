"""Makes one lookup over HTTP: warm connection, permit at the socket, one attempt, no redirects, a bounded reply."""

import asyncio
import itertools
import math
import ssl
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from time import monotonic_ns
from typing import Any

import httpx

from services.lookup.core import Call
from services.lookup.gate_pacer import Pacer, Verdict, Withdrawn
from services.lookup.limiter import Limiter, Permit
from services.lookup.providers.protocol import MAX_BODY_BYTES, HttpResponse, Provider, Reply, Wait

_STARTED = "http11.send_request_headers.started"
_WRITTEN = ("http11.send_request_headers.complete", "http11.send_request_headers.failed")
_KEEPALIVE_SECONDS = 4.0
"""Shorter than servers' usual five: a request written to a connection just closed would be a call for nothing."""
_CALLS_PER_SECOND_AND_POOL = 25
"""httpcore looks at all pairs of a pool's connections for each request: 80 connections in one cost 4 ms a call."""


class _BodyTooLarge(Exception):
    pass


class HttpCaller:
    """Calls the provider. Use as an async context manager."""

    def __init__(self, provider: Provider, limiter: Limiter, *, timeout_seconds: float) -> None:
        self._provider = provider
        self._limiter = limiter
        self._pacer = Pacer(limiter)
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

    async def call(self, call: Call, judge: Callable[[], Verdict], *, on_written: Callable[[], None]) -> Reply:
        """The provider's reply, or a `Wait` that says why there is none.

        `judge` is asked in the instant before the write. From then on the request may arrive and `call.written` is
        set. `on_written` is called after the write: nothing else has its turn before it.

        Raises:
            Withdrawn: the call is not to be made after all; nothing was written.
        """
        attempt = _Attempt(call, self._limiter, lambda: self._pacer.permit(judge), on_written, self._timeout_seconds)
        try:
            async with asyncio.timeout(None) as deadline:
                attempt.deadline = deadline
                return self._provider.read_response(await self._exchange(call.phone, attempt))
        except TimeoutError:
            return Wait("timeout", f"no whole answer within {self._timeout_seconds:g} s")
        except _BodyTooLarge:
            return Wait("too_large", f"the provider's answer is over {MAX_BODY_BYTES} bytes")
        except httpx.TimeoutException as error:
            return Wait("timeout", f"{type(error).__name__} after {self._timeout_seconds:g} s")
        except httpx.HTTPError as error:
            return Wait("no_connection", f"the exchange with the provider broke off ({type(error).__name__})")
        finally:
            attempt.finished()

    async def _exchange(self, phone: str, attempt: "_Attempt") -> HttpResponse:
        wanted = self._provider.build_request(phone)
        client = next(self._turns)
        request = client.build_request(
            wanted.method,
            wanted.url,
            headers=dict(wanted.headers),
            content=wanted.body,
            extensions={"trace": attempt.trace},
        )
        response = await client.send(request, stream=True)
        try:
            body = await _read(response)
        finally:
            await response.aclose()
        return HttpResponse(response.status_code, _lower(response.headers), body, received_at=datetime.now(UTC))


class _Attempt:
    """One call on its way through httpx: takes the permit in the trace hook and gives it back."""

    def __init__(
        self,
        call: Call,
        limiter: Limiter,
        permit: Callable[[], Awaitable[Permit]],
        on_written: Callable[[], None],
        timeout_seconds: float,
    ) -> None:
        self.deadline: asyncio.Timeout | None = None
        self._call = call
        self._limiter = limiter
        self._next_permit = permit
        self._on_written = on_written
        self._timeout_seconds = timeout_seconds
        self._permit: Permit | None = None
        self._is_told = False

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """httpcore calls this after connect and TLS, right before it writes, and again right after."""
        if event == _STARTED and info["request"].method != b"CONNECT":
            self._permit = await self._next_permit()
            self._call.written = True
        elif event in _WRITTEN and self._permit is not None and not self._is_told:
            self._tell_written(self._permit)
            if self.deadline is not None:
                self.deadline.reschedule(asyncio.get_running_loop().time() + self._timeout_seconds)

    def finished(self) -> None:
        if self._permit is not None:
            if not self._is_told:
                self._tell_written(self._permit)
            self._limiter.finished(self._permit, monotonic_ns())

    def _tell_written(self, permit: Permit) -> None:
        self._is_told = True
        self._limiter.written(permit, monotonic_ns())
        self._on_written()


def _make_client(tls: ssl.SSLContext, timeout_seconds: float) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        verify=tls,
        http1=True,
        http2=False,
        follow_redirects=False,
        timeout=httpx.Timeout(timeout_seconds, pool=None),
        limits=httpx.Limits(keepalive_expiry=_KEEPALIVE_SECONDS),
    )


async def _read(response: httpx.Response) -> bytes:
    """The body as sent. It was asked for without compression, so a small body cannot unpack into a huge one."""
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise _BodyTooLarge
    return bytes(body)


def _lower(headers: httpx.Headers) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


__all__ = ["HttpCaller", "Withdrawn"]

"""Decides which `Wait` an error of an exchange becomes: each kind of error has its own code."""

import ssl
from collections.abc import Iterator

import h11
import httpx

from services.lookup.gate.http_stream import MAX_EXCHANGE_BYTES, ReplyTooLong
from services.lookup.providers.protocol import MAX_BODY_BYTES, Wait

_HEAD_TOO_LARGE = 431


class BodyTooLarge(Exception):
    """The body is longer than any answer."""


class TooManyPieces(Exception):
    """The body came in more pieces than any answer has."""


def wait_for(error: Exception, *, has_head: bool, timeout_seconds: float) -> Wait:
    """The `Wait` for `error`. `has_head`: status and headers had arrived.

    The texts repeat nothing of the exchange, because the text of an exception may hold the phone.
    """
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return Wait("timeout", f"no whole answer within {timeout_seconds:g} s")
    if isinstance(error, BodyTooLarge):
        return Wait("too_large", f"the provider's answer is over {MAX_BODY_BYTES} bytes")
    if isinstance(error, TooManyPieces):
        return Wait("too_many_pieces", "the provider's answer came in too many pieces")
    if isinstance(error, ReplyTooLong):
        code = "too_large" if has_head else "too_many_interim"
        return Wait(code, f"over {MAX_EXCHANGE_BYTES} bytes came in answer to one request")
    if any(isinstance(cause, ssl.SSLError) for cause in _causes(error)):
        return Wait("broken_tls", "the encryption of the connection to the provider failed")
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol | UnicodeError):
        return Wait("bad_address", f"the lookup's address cannot be called ({type(error).__name__})")
    if isinstance(error, httpx.ProtocolError):
        return _broken_protocol(error, has_head=has_head)
    if isinstance(error, httpx.HTTPError):
        code = "truncated" if has_head else "no_connection"
        return Wait(code, f"the exchange with the provider broke off ({type(error).__name__})")
    return Wait("unforeseen", f"the exchange with the provider failed ({type(error).__name__})")


def _broken_protocol(error: httpx.ProtocolError, *, has_head: bool) -> Wait:
    broken = next((cause for cause in _causes(error) if isinstance(cause, h11.ProtocolError)), None)
    if broken is None:
        # httpcore's own error: the connection was closed before any answer.
        return Wait("no_connection", "the provider closed the connection without an answer")
    if broken.error_status_hint == _HEAD_TOO_LARGE:
        return Wait("head_too_large", "the head of the provider's answer is too large")
    if not has_head:
        return Wait("not_http", "the provider's answer is not HTTP")
    if "peer closed connection" in str(broken):
        return Wait("truncated", "the provider closed the connection within its answer")
    return Wait("broken_body", "the body of the provider's answer is not framed as its head says")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and the errors that caused it."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__

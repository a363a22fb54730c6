"""Adapters to lookup APIs: one module each, all behind the protocol in `protocol`."""

from urllib.parse import urlsplit

import httpx

from schemas.settings import Settings
from services.lookup.providers.generic import GenericProvider
from services.lookup.providers.protocol import Provider

__all__ = ["UnusableUrl", "make_provider"]


class UnusableUrl(ValueError):
    """The lookup API's address is none; the text says what is expected."""


def make_provider(settings: Settings) -> Provider:
    """The adapter that `SCRUB_PROVIDER` names.

    Raises:
        UnusableUrl: `SCRUB_LOOKUP_URL` is no http or https address that can be called.
    """
    if not is_http_address(settings.lookup_url.replace("{phone}", "%2B14155550100")):
        raise UnusableUrl("SCRUB_LOOKUP_URL must be an address like https://api.example.com/lookup, or hold {phone}")
    key = settings.lookup_key.get_secret_value() if settings.lookup_key else None
    return GenericProvider(url=settings.lookup_url, key=key)


def is_http_address(url: str) -> bool:
    """Whether the HTTP client and the resolver take the address. They refuse some hosts that look well (IDNA)."""
    try:
        parts = urlsplit(url)
        called = httpx.URL(url)
        called.raw_host.decode("ascii").encode("idna")
        return parts.scheme in ("http", "https") and bool(called.host) and (parts.port is None or parts.port > 0)
    except (ValueError, httpx.InvalidURL):
        return False

"""Adapters to lookup APIs: one module each, all behind the protocol in `protocol`."""

from urllib.parse import urlsplit

from schemas.settings import Settings
from services.lookup.providers.generic import GenericProvider
from services.lookup.providers.protocol import Provider

__all__ = ["UnusableUrl", "make_provider"]


class UnusableUrl(ValueError):
    """The lookup API's address is none; the text says what is expected."""


def make_provider(settings: Settings) -> Provider:
    """The adapter that `SCRUB_PROVIDER` names.

    Raises:
        UnusableUrl: `SCRUB_LOOKUP_URL` is no http or https address.
    """
    if not is_http_address(settings.lookup_url):
        raise UnusableUrl("SCRUB_LOOKUP_URL must be an address like https://api.example.com/lookup, or hold {phone}")
    key = settings.lookup_key.get_secret_value() if settings.lookup_key else None
    return GenericProvider(url=settings.lookup_url, key=key)


def is_http_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False

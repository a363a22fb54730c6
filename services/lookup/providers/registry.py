"""Decides which adapter is used: each choice of `SCRUB_PROVIDER` is a module of that name in this package.

To add a provider: write its module, which has `make`, and add its name to the choices of `Settings.provider`.
"""

from importlib import import_module
from urllib.parse import urlsplit

import httpx

from schemas.settings import Settings
from services.lookup.providers.protocol import MakeProvider, Provider


class UnusableUrl(ValueError):
    """The URL of the lookup API cannot be called. The text says what is expected."""


def make_provider(settings: Settings) -> Provider:
    """The adapter that `SCRUB_PROVIDER` names.

    Raises:
        UnusableUrl: `SCRUB_LOOKUP_URL` is not an http or https URL that can be called.
    """
    if not is_http_address(settings.lookup_url.replace("{phone}", "%2B14155550100")):
        raise UnusableUrl("SCRUB_LOOKUP_URL must be an address like https://api.example.com/lookup, or hold {phone}")
    key = settings.lookup_key.get_secret_value() if settings.lookup_key else None
    return adapter(settings.provider)(url=settings.lookup_url, key=key)


def adapter(name: str) -> MakeProvider:
    """The `make` of the module `name`. Only the module of the chosen provider is loaded."""
    make: MakeProvider = import_module(f"{__package__}.{name}").make
    return make


def is_http_address(url: str) -> bool:
    """Whether the HTTP client and the resolver accept the URL. They refuse some hosts that look valid (IDNA)."""
    try:
        parts = urlsplit(url)
        called = httpx.URL(url)
        called.raw_host.decode("ascii").encode("idna")
        return parts.scheme in ("http", "https") and bool(called.host) and (parts.port is None or parts.port > 0)
    except (ValueError, httpx.InvalidURL):
        return False

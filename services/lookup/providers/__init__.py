"""Adapters to lookup APIs: one module each, all behind the protocol in `protocol`."""

from schemas.settings import Settings
from services.lookup.providers.generic import GenericProvider
from services.lookup.providers.protocol import Provider

__all__ = ["make_provider"]


def make_provider(settings: Settings) -> Provider:
    """The adapter that `SCRUB_PROVIDER` names."""
    key = settings.lookup_key.get_secret_value() if settings.lookup_key else None
    return GenericProvider(url=settings.lookup_url, key=key)

"""Decides who a request is from: bearer token, sign-in cookie, or the one local user on loopback."""

from dataclasses import dataclass
from hmac import compare_digest

from starlette.requests import HTTPConnection

from schemas.settings import Settings
from services.runtime.problems import ProblemError

COOKIE = "scrub_session"
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks. An admin sees every owner's uploads and may command the queue."""

    owner: str
    admin: bool

    def may_see(self, owner: str) -> bool:
        return self.admin or owner == self.owner


LOCAL = Identity(owner="local", admin=True)


def tokens_are_set(settings: Settings) -> bool:
    return bool(settings.tokens or settings.admin_tokens)


def identity_of_token(token: str, settings: Settings) -> Identity | None:
    """Whose token it is; None if nobody's. Compares in constant time."""
    for known in settings.admin_tokens:
        if compare_digest(known.encode(), token.encode()):
            return Identity(owner=settings.tokens.get(known, "admin"), admin=True)
    for known, owner in settings.tokens.items():
        if compare_digest(known.encode(), token.encode()):
            return Identity(owner=owner, admin=False)
    return None


def identify(connection: HTTPConnection, settings: Settings) -> Identity:
    """Who sent this request or opened this socket.

    Raises:
        ProblemError: 401 without a valid token where tokens are set.
    """
    if not tokens_are_set(settings):
        return LOCAL
    scheme, _, value = connection.headers.get("authorization", "").partition(" ")
    token = value.strip() if scheme.lower() == "bearer" else connection.cookies.get(COOKIE, "")
    identity = identity_of_token(token, settings) if token else None
    if identity is None:
        raise ProblemError(
            401,
            "not-signed-in",
            "Sign in first",
            "Send an `Authorization: Bearer` header with a token that the operator gave you, or sign in on the page.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return identity


def require_admin(identity: Identity) -> None:
    """Raises ProblemError 403 unless the identity is an admin."""
    if not identity.admin:
        raise ProblemError(403, "admin-only", "Only for admins", "This call needs one of the admin tokens.")

"""Makes identifiers: upload ids that sort by time, idempotent upload ids, and the ids of completion events."""

import secrets
from uuid import UUID, uuid5

_UPLOADS = UUID("6f0e3a52-6d0c-5a1e-9a53-2f6f6d0a7c11")
_COMPLETIONS = UUID("0b7a54f6-27a4-5a55-8a43-7f1c5d4a9e02")


def new_upload_id(*, now_ms: int, entropy: bytes | None = None) -> str:
    """A UUIDv7 (RFC 9562, section 5.7): 48 bits of Unix milliseconds, then 74 random bits."""
    random_bits = int.from_bytes(entropy or secrets.token_bytes(10), "big")
    value = (now_ms & (1 << 48) - 1) << 80
    value |= 0x7 << 76
    value |= (random_bits >> 68 & 0xFFF) << 64
    value |= 0b10 << 62
    value |= random_bits & (1 << 62) - 1
    return str(UUID(int=value))


def idempotent_upload_id(owner: str, key: str) -> str:
    """The id that every repetition of a `POST` with the same `Idempotency-Key` by the same owner gets."""
    return str(uuid5(_UPLOADS, f"{len(owner)}:{owner}:{key}"))


def completion_id(upload_id: str, round_: int) -> str:
    """`ce_id` of a completion event: the same for one round of an upload, however often it is published."""
    return str(uuid5(_COMPLETIONS, f"{upload_id}:{round_}"))

"""Decides the value of a completion event, so that it always fits into a record; pure."""

from schemas.codec import MAX_VALUE_BYTES, encode
from schemas.interface import Upload
from schemas.uploads import UploadOptions


def value_of(upload: Upload) -> bytes:
    """The event's value. Where it would not fit, `detected`, `preview` and `options` are left out."""
    value = encode(upload)
    return value if len(value) <= MAX_VALUE_BYTES else _short(upload)


def shortened(value: bytes) -> bytes:
    """A value of a few kB, for a broker that accepts only small records."""
    return _short(Upload.model_validate_json(value))


def _short(upload: Upload) -> bytes:
    return encode(upload.model_copy(update={"detected": None, "preview": None, "options": UploadOptions()}))

"""Decides what a completion event says of its upload, so that it always fits into a record; pure."""

from schemas.codec import MAX_VALUE_BYTES, encode
from schemas.interface import Upload
from schemas.uploads import UploadOptions


def value_of(upload: Upload) -> bytes:
    """The event's value. What was detected and chosen is left out where it would not fit: thousands of columns."""
    value = encode(upload)
    return value if len(value) <= MAX_VALUE_BYTES else _short(upload)


def shortened(value: bytes) -> bytes:
    """The value for a broker that takes less than others: a few kB whatever the upload is."""
    return _short(Upload.model_validate_json(value))


def _short(upload: Upload) -> bytes:
    return encode(upload.model_copy(update={"detected": None, "preview": None, "options": UploadOptions()}))

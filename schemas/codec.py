"""Turns messages into record values and back; the only place that knows records hold JSON.

Whatever the bytes are, reading them has one of two outcomes: a message, or `UndecodableRecord`.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from schemas.values import LATEST_IN_RECORD, latest_in_record

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

MAX_VALUE_BYTES: Final = 1_000_000
"""Largest value of a record of ours, uncompressed. With its key and headers it fits Kafka's default of 1 MiB, and so
does what is written when it is published again. Kafka itself measures what is left after compression."""


class UndecodableRecord(Exception):
    """A record's value is not the message that its topic promises. The text never holds the value itself."""


def encode(message: BaseModel) -> bytes:
    """The record value of a message: compact JSON in UTF-8."""
    return message.__pydantic_serializer__.to_json(message)


def decode(model: type[M], value: bytes | None, *, timestamp_ms: int | None = None) -> M:
    """The message in a record value.

    `timestamp_ms`: the record's Kafka timestamp, milliseconds since 1970; the value may then name no time that is more
    than a day later.

    Raises:
        UndecodableRecord: the value is missing, too large, no JSON, or not of the model's shape. Nothing else.
    """
    return _read(model.__name__, model.model_validate_json, value, timestamp_ms)


def decode_one_of(adapter: TypeAdapter[T], value: bytes | None, *, what: str, timestamp_ms: int | None = None) -> T:
    """Like `decode` for a union of messages that a `type` field tells apart."""
    return _read(what, adapter.validate_json, value, timestamp_ms)


def _read(what: str, validate: Callable[..., T], value: bytes | None, timestamp_ms: int | None) -> T:
    if value is None:
        raise UndecodableRecord(f"a {what} was expected, the record has no value")
    if len(value) > MAX_VALUE_BYTES:
        raise UndecodableRecord(f"not a {what}: {len(value)} bytes, over the {MAX_VALUE_BYTES} that are allowed")
    context: dict[str, Any] | None = None
    if timestamp_ms is not None:
        context = {LATEST_IN_RECORD: latest_in_record(timestamp_ms)}
    try:
        return validate(value, context=context)
    except ValidationError as error:
        raise UndecodableRecord(_explain(what, error)) from None
    except Exception as error:
        # A validator that raises anything but ValueError passes through pydantic. That ends the record, not its reader.
        raise UndecodableRecord(f"not a {what}: {type(error).__name__} while it was read") from None


def where_and_what(error: ValidationError) -> str:
    """The place and the kind of the first error, as in `cells.0: string_type`. It repeats nothing of the input.

    Pydantic's own sentences do: a wrong tag is quoted, and the place of a wrong key is that key.
    """
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    place = ".".join(str(part) if _is_a_name(part) else "?" for part in first["loc"]) or "value"
    return f"{place}: {first['type']}"


def _is_a_name(part: int | str) -> bool:
    return isinstance(part, int) or part.isidentifier()


def _explain(what: str, error: ValidationError) -> str:
    return f"not a {what}: {where_and_what(error)} ({error.error_count()} errors)"

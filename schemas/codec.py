"""Turns messages into record values and back; the only place that knows records hold JSON."""

from typing import TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")


class UndecodableRecord(Exception):
    """A record's value is not the message that its topic promises. The text never holds the value itself."""


def encode(message: BaseModel) -> bytes:
    """The record value of a message: compact JSON in UTF-8."""
    return message.__pydantic_serializer__.to_json(message)


def decode(model: type[M], value: bytes | None) -> M:
    """The message in a record value.

    Raises:
        UndecodableRecord: the value is missing, no JSON, or not of the model's shape.
    """
    if value is None:
        raise UndecodableRecord(f"a {model.__name__} was expected, the record has no value")
    try:
        return model.model_validate_json(value)
    except ValidationError as error:
        raise UndecodableRecord(_explain(model.__name__, error)) from None


def decode_one_of(adapter: TypeAdapter[T], value: bytes | None, *, what: str) -> T:
    """Like `decode` for a union of messages that a `type` field tells apart."""
    if value is None:
        raise UndecodableRecord(f"{what} was expected, the record has no value")
    try:
        return adapter.validate_json(value)
    except ValidationError as error:
        raise UndecodableRecord(_explain(what, error)) from None


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

"""Validates parameters, JSON bodies and form fields, and names each one that is wrong."""

import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, TypeVar, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails
from python_multipart.exceptions import FormParserError
from starlette.datastructures import FormData
from starlette.requests import Request

from schemas.interface import ErrorItem
from services.runtime.problems import ProblemError

M = TypeVar("M", bound=BaseModel)
MOST_ITEMS: Final = 20
"""Wrong fields that an answer lists, at most; a body may have thousands."""
_LONGEST_VALUE: Final = 100
_LONGEST_NAME: Final = 200
_MOST_DIGITS: Final = 12
_ABOVE_ALL: Final = 10**30


IDEMPOTENCY_KEY_PATTERN: Final = '^"?[!#-~](?:[ -~]{0,253}[!#-~])?"?$'
"""Printable ASCII; quotes may stand around it (draft-ietf-httpapi-idempotency-key-header)."""
_LONGEST_KEY: Final = 255


class Input(BaseModel):
    """The base of query and body models: an unknown name is an error.

    No answer repeats the value of a field with `repr=False`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Nothing(Input):
    """The input of an endpoint without parameters, or without a body."""


Bounded = Field(max_length=20)
"""Bounds a list of states or kinds; there are fewer of each."""


def validated(model: type[M], values: Mapping[str, Any]) -> M:
    """The model of these values; parameters and form fields come as texts.

    Raises:
        ProblemError: 422 with an entry for each wrong one.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise _wrong_input(error, model) from None


def parse_query(model: type[M], request: Request) -> M:
    """The query parameters. A parameter that is a list may be repeated or comma-separated.

    Raises:
        ProblemError: 422 with an entry for each wrong one.
    """
    values: dict[str, Any] = {}
    for name in request.query_params:
        given = request.query_params.getlist(name)
        wanted = model.model_fields.get(name)
        if wanted is not None and get_origin(wanted.annotation) is tuple:
            values[name] = [part for text in given for part in text.split(",") if part]
        elif len(given) > 1:
            raise _repeated(name)
        else:
            values[name] = given[0]
    return validated(model, values)


def idempotency_key(request: Request) -> str | None:
    """The `Idempotency-Key`, if there is one.

    Raises:
        ProblemError: 422 when it is repeated, empty, too long, or not printable ASCII.
    """
    keys = request.headers.getlist("idempotency-key")
    if not keys:
        return None
    key = keys[0].strip().strip('"')
    if len(keys) > 1 or not 0 < len(key) <= _LONGEST_KEY or not key.isascii() or not key.isprintable():
        detail = f"Send one Idempotency-Key of 1 to {_LONGEST_KEY} printable ASCII characters."
        raise wrong_items((ErrorItem(code="wrong_value", column="Idempotency-Key", detail=detail),))
    return key


async def parse_body(model: type[M], request: Request) -> M:
    """The JSON body; an empty body counts as `{}`. A middleware bounds its size.

    Raises:
        ProblemError: 400 when it is not a JSON object, 415 when its content type is not JSON, 422 with an entry for
            each wrong field.
    """
    raw = (await request.body()).strip()
    if not raw:
        return validated(model, {})
    _refuse_other_type(request.headers.get("content-type", ""))
    try:
        return model.model_validate_json(_plain_json(raw), strict=True)
    except ValidationError as error:
        if error.errors(include_url=False, include_input=False)[0]["type"] in ("json_invalid", "model_type"):
            raise _not_json() from None
        raise _wrong_input(error, model) from None


async def read_form(request: Request) -> FormData:
    """The form that a page sent. A middleware bounds its size.

    Raises:
        ProblemError: 400 when it cannot be read.
    """
    try:
        return await request.form()
    except FormParserError:
        raise ProblemError(
            400, "unreadable-body", "The form cannot be read", "Go back, reload the page and try again."
        ) from None


def form_number(name: str, text: str) -> int:
    """A whole number in a form's field.

    Raises:
        ProblemError: 422 when the text is not a whole number, or has too many digits.
    """
    if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS:
        return int(text)
    raise wrong_items((ErrorItem(code="int_parsing", column=name, detail="Give a whole number."),))


def _refuse_other_type(content_type: str) -> None:
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type and media_type != "application/json" and not media_type.endswith("+json"):
        raise ProblemError(
            415, "not-json", "The body is not JSON", "Send a JSON object with `Content-Type: application/json`."
        )


class _RepeatedName(Exception):
    """A name stands twice in an object: JSON readers differ on which value counts."""


def _plain_json(raw: bytes) -> str:
    """The same JSON with `4.0` written as `4`: JSON Schema takes both as integers, pydantic only the second.

    Raises:
        ProblemError: 400 when it is not JSON, 422 when a name stands twice in an object.
    """
    try:
        found = json.loads(
            raw.decode(), object_pairs_hook=_names_once, parse_float=_number, parse_constant=_refuse_constant
        )
        return json.dumps(found)
    except _RepeatedName as repeated:
        raise _repeated(str(repeated)) from None
    except (ValueError, RecursionError):
        raise _not_json() from None


def _names_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _RepeatedName(next(name for name in names if names.count(name) > 1))
    return found


def _number(text: str) -> float:
    """A number too large for a float becomes one that exceeds every bound."""
    value = float(text)
    if math.isinf(value):
        return _ABOVE_ALL if value > 0 else -_ABOVE_ALL
    return int(value) if value.is_integer() else value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not in JSON")


def _not_json() -> ProblemError:
    return ProblemError(400, "not-json", "The body is not a JSON object", "Send a JSON object, or no body.")


def _repeated(name: str) -> ProblemError:
    name = name.encode("utf-8", "replace").decode()[:_LONGEST_NAME]
    return wrong_items((ErrorItem(code="repeated", column=name, detail=f"`{name}` is given twice"),))


def _wrong_input(error: ValidationError, model: type[BaseModel]) -> ProblemError:
    found = error.errors(include_url=False, include_context=False)
    items = [_item(one, model) for one in found[:MOST_ITEMS]]
    if len(found) > MOST_ITEMS:
        items.append(ErrorItem(code="more", detail=f"and {len(found) - MOST_ITEMS} more"))
    return wrong_items(tuple(items))


def _item(one: ErrorDetails, model: type[BaseModel]) -> ErrorItem:
    name = str(one["loc"][0]) if one["loc"] else None
    field = None if name is None else model.model_fields.get(name)
    value = None if field is not None and not field.repr else _shown(one["input"])
    return ErrorItem(
        code=one["type"], column=None if name is None else name[:_LONGEST_NAME], value=value, detail=one["msg"]
    )


def _shown(value: object) -> str | None:
    """The beginning of the given value. Very long numbers and whole objects are not repeated."""
    if isinstance(value, int) and value.bit_length() > 64:
        return None
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)[:_LONGEST_VALUE] if isinstance(value, str | int | float) else None


def wrong_items(items: tuple[ErrorItem, ...]) -> ProblemError:
    """The refusal of a request with wrong parameters or fields."""
    sentence = "; ".join(
        item.detail or item.code if item.column is None else f"{item.column}: {item.detail}" for item in items
    )
    return ProblemError(422, "wrong-input", "Something in the request is wrong", sentence, errors=items)

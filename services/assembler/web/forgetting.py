"""The JSON call that erases one number everywhere."""

import re
from datetime import UTC, datetime
from typing import Annotated, Final

import phonenumbers
from pydantic import Field, WithJsonSchema
from starlette.responses import Response

from schemas import topics
from schemas.base import Message
from schemas.interface import ErrorItem
from schemas.upload_events import OperatorActed
from schemas.values import PHONE_PATTERN
from services.assembler.web.calls import Ask, Call, json_answer
from services.assembler.web.inputs import Input, Nothing
from services.runtime.problems import ProblemError

_SHORT: Final = 10
"""Of a shorter phone, five and two characters would leave next to nothing to guess."""


class ForgetBody(Input):
    phone: Annotated[str, Field(max_length=40), WithJsonSchema({"type": "string", "pattern": PHONE_PATTERN})] = Field(
        repr=False, description="The number in E.164; as it is written in the service's region, it is understood too"
    )


class Forgotten(Message):
    phone_masked: str


async def forget(ask: Ask[Nothing, ForgetBody]) -> Response:
    """Null records for the phone's result and its failure, both on the phone's partition, erase it everywhere."""
    phone = e164_of(ask.body.phone, region=ask.backend.settings.region)
    acted = OperatorActed(
        at=datetime.now(UTC), by=ask.identity.owner, action="forget_phone", phone_masked=masked(phone)
    )
    await ask.backend.publish_event(acted)
    partition = await ask.backend.partition_of(topics.LOOKUP_RESULTS, phone)
    for key in (phone, f"{phone}|failed"):
        await ask.backend.publish(topics.LOOKUP_RESULTS, key, None, partition=partition)
    return json_answer(Forgotten(phone_masked=masked(phone)), 202)


def e164_of(written: str, *, region: str) -> str:
    """The phone, which is in E.164 already or written as in the region.

    Raises:
        ProblemError: 422 when it is neither.
    """
    if re.fullmatch(PHONE_PATTERN, written):
        return written
    try:
        parsed = phonenumbers.parse(written, region)
    except phonenumbers.NumberParseException:
        raise _not_a_phone() from None
    phone = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    if not phonenumbers.is_possible_number(parsed) or not re.fullmatch(PHONE_PATTERN, phone):
        raise _not_a_phone()
    return phone


def _not_a_phone() -> ProblemError:
    detail = "Send it in E.164: a plus, the country code, the number, at most 15 digits."
    item = ErrorItem(code="not_a_phone", column="phone", detail=detail)
    return ProblemError(422, "not-a-phone", "This is not a phone number", detail, errors=(item,))


def masked(phone: str) -> str:
    """A phone of which only the country's side and the last two digits can be read: `+1415*****00`."""
    shown = 5 if len(phone) >= _SHORT else 2
    last = phone[-2:] if len(phone) >= _SHORT else ""
    return phone[:shown] + "*" * (len(phone) - shown - len(last)) + last


CALLS = (
    Call(
        "POST",
        "/v1/phones/forget",
        forget,
        "Erase one number everywhere",
        {202: ("Accepted", Forgotten)},
        body=ForgetBody,
        admin=True,
    ),
)

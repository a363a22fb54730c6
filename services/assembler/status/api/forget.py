"""The JSON call that erases one number everywhere."""

import re
from datetime import UTC, datetime
from typing import Annotated, Final

import phonenumbers
from pydantic import Field
from starlette.responses import Response

from schemas import topics
from schemas.base import Message
from schemas.lookups import failure_key
from schemas.phones import mask
from schemas.upload_events import OperatorActed
from schemas.values import PHONE_PATTERN
from services.assembler.status.api.calls import Ask, Call, json_answer
from services.assembler.status.inputs import Input, Nothing
from services.runtime.problems import ProblemError

_WRITTEN: Final = r"^(?:\+[1-9]|\(?[0-9])(?:[ ()./-]{0,2}[0-9]){3,14}$"
"""Four to fifteen digits with what people put between them."""


class ForgetBody(Input):
    phone: Annotated[str, Field(pattern=_WRITTEN)] = Field(
        repr=False, description="The number in E.164, or as it is written in the service's region"
    )


class Forgotten(Message):
    phone_masked: str


async def forget(ask: Ask[Nothing, ForgetBody]) -> Response:
    """Null records for the phone's result and its failure, both on the phone's partition, erase it everywhere."""
    phone = e164_of(ask.body.phone, region=ask.backend.settings.region)
    acted = OperatorActed(at=datetime.now(UTC), by=ask.identity.owner, action="forget_phone", phone_masked=mask(phone))
    await ask.backend.publish_event(acted)
    partition = await ask.backend.partition_of(topics.LOOKUP_RESULTS, phone)
    for key in (phone, failure_key(phone)):
        await ask.backend.publish(topics.LOOKUP_RESULTS, key, None, partition=partition)
    return json_answer(Forgotten(phone_masked=mask(phone)), 202)


def e164_of(written: str, *, region: str) -> str:
    """The phone, which is in E.164 or written as in the region.

    Raises:
        ProblemError: 404 when the region has no number that is written so.
    """
    digits = re.sub("[^+0-9]", "", written)
    if re.fullmatch(PHONE_PATTERN, digits):
        return digits
    try:
        parsed = phonenumbers.parse(digits, region)
    except phonenumbers.NumberParseException:
        raise _no_such_phone() from None
    phone = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    # A number that can only be dialled locally lacks its area code: it would be another phone in E.164.
    is_whole = phonenumbers.is_possible_number_with_reason(parsed) == phonenumbers.ValidationResult.IS_POSSIBLE
    if not is_whole or not re.fullmatch(PHONE_PATTERN, phone):
        raise _no_such_phone()
    return phone


def _no_such_phone() -> ProblemError:
    detail = (
        "There can be no such number in the service's region. Send it in E.164: a plus, the country code, the number."
    )
    return ProblemError(404, "no-such-phone", "There is no such number", detail)


CALLS = (
    Call(
        "POST",
        "/v1/phones/forget",
        forget,
        "Erase one number everywhere",
        {202: ("Accepted", Forgotten)},
        body=ForgetBody,
        admin=True,
        problems=(404,),
    ),
)

"""The JSON call that erases one number everywhere."""

from datetime import UTC, datetime

import phonenumbers
from pydantic import Field
from starlette.responses import Response

from schemas import topics
from schemas.base import Message
from schemas.upload_events import OperatorActed
from services.assembler.web.calls import Ask, Call, Input, Nothing, json_answer
from services.runtime.problems import ProblemError


class ForgetBody(Input):
    phone: str = Field(description="The number, in E.164 or as written in the service's region")


class Forgotten(Message):
    phone_masked: str


async def forget(ask: Ask[Nothing, ForgetBody]) -> Response:
    """Null records for the phone's result and its failure, both on the phone's partition, erase it everywhere."""
    try:
        parsed = phonenumbers.parse(ask.body.phone, ask.backend.settings.region)
    except phonenumbers.NumberParseException:
        raise ProblemError(
            400, "not-a-phone", "This is not a phone number", "Send it in E.164: a plus, the country code, the number."
        ) from None
    phone = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    acted = OperatorActed(
        at=datetime.now(UTC), by=ask.identity.owner, action="forget_phone", phone_masked=masked(phone)
    )
    await ask.backend.publish_event(acted)
    partition = await ask.backend.partition_of(topics.LOOKUP_RESULTS, phone)
    for key in (phone, f"{phone}|failed"):
        await ask.backend.publish(topics.LOOKUP_RESULTS, key, None, partition=partition)
    return json_answer(Forgotten(phone_masked=masked(phone)), 202)


def masked(phone: str) -> str:
    """A phone of which only the country's side and the last two digits can be read: `+1415*****00`."""
    return phone[:5] + "*" * max(0, len(phone) - 7) + phone[-2:]


CALLS = (
    Call(
        "POST",
        "/v1/phones/forget",
        forget,
        "Erase one number everywhere",
        {202: ("Accepted", Forgotten)},
        body=ForgetBody,
        admin=True,
        problems=(400, 403, 503),
    ),
)

"""Erases one number everywhere: in its result, its failure, and all rows that have it."""

import re
from datetime import UTC, datetime
from typing import Annotated, Final

import phonenumbers
from pydantic import Field

from schemas import topics
from schemas.base import Message
from schemas.lookups import failure_key
from schemas.phones import mask
from schemas.upload_events import OperatorActed
from schemas.values import PHONE_PATTERN
from services.assembler.status.backend import Backend
from services.assembler.status.inputs import Input
from services.runtime.identity import Identity
from services.runtime.problems import ProblemError

_WRITTEN: Final = r"^(?:\+[1-9]|\(?[0-9])(?:[ ()./-]{0,2}[0-9]){3,14}$"
"""Four to fifteen digits with the separators that people use."""


class ForgetBody(Input):
    phone: Annotated[str, Field(pattern=_WRITTEN)] = Field(
        repr=False, description="The number in E.164, or as it is written in the service's region"
    )


class Forgotten(Message):
    phone_masked: str


async def forget(backend: Backend, identity: Identity, written: str) -> Forgotten:
    """Writes null records for the phone's result and its failure, both on the phone's partition.

    Every reader of results erases the phone when it reads them.

    Raises:
        ProblemError: 404 when there is no such number, 503 when Kafka does not answer.
    """
    phone = e164_of(written, region=backend.settings.region)
    acted = OperatorActed(at=datetime.now(UTC), by=identity.owner, action="forget_phone", phone_masked=mask(phone))
    await backend.writer.publish_event(acted)
    partition = await backend.writer.partition_of(topics.LOOKUP_RESULTS, phone)
    for key in (phone, failure_key(phone)):
        await backend.writer.publish(topics.LOOKUP_RESULTS, key, None, partition=partition)
    return Forgotten(phone_masked=mask(phone))


def e164_of(written: str, *, region: str) -> str:
    """The phone in E.164, from E.164 or from the notation of the region.

    Raises:
        ProblemError: 404 when the region has no such number.
    """
    digits = re.sub("[^+0-9]", "", written)
    if re.fullmatch(PHONE_PATTERN, digits):
        return digits
    try:
        parsed = phonenumbers.parse(digits, region)
    except phonenumbers.NumberParseException:
        raise _no_such_phone() from None
    phone = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    # A local number lacks its area code: in E.164 it would be another phone.
    is_whole = phonenumbers.is_possible_number_with_reason(parsed) == phonenumbers.ValidationResult.IS_POSSIBLE
    if not is_whole or not re.fullmatch(PHONE_PATTERN, phone):
        raise _no_such_phone()
    return phone


def _no_such_phone() -> ProblemError:
    detail = (
        "There can be no such number in the service's region. Send it in E.164: a plus, the country code, the number."
    )
    return ProblemError(404, "no-such-phone", "There is no such number", detail)

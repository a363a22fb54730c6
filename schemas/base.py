"""The base of every message and view: frozen, UTC, tolerant of fields that a newer writer added."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict


def _to_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


Moment = Annotated[AwareDatetime, AfterValidator(_to_utc)]
"""A point in time. JSON: RFC 3339 in UTC with `Z`."""


class Message(BaseModel):
    """A value on a topic or in an HTTP answer. Unknown fields are ignored: readers outlive writers and the reverse."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", serialize_by_alias=True, ser_json_bytes="base64", val_json_bytes="base64"
    )

"""Owns the base of every message and view: frozen, and tolerant of fields that a newer writer added."""

from pydantic import BaseModel, ConfigDict


class Message(BaseModel):
    """A value on a topic or in an HTTP answer. Unknown fields are ignored: a writer may be newer than its reader."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", serialize_by_alias=True, ser_json_bytes="base64", val_json_bytes="base64"
    )

"""Asks Kafka how large a record may be on a topic, so that files are cut into records that it takes."""

from typing import Final

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from schemas.settings import Settings
from services.runtime.kafka import MAX_RECORD_BYTES, admin_client

_LIMIT: Final = "max.message.bytes"


async def most_record_bytes(topic: str, settings: Settings) -> int:
    """The largest batch that Kafka takes on a topic, as far as ours can be so large; ours if it does not tell."""
    resource = ConfigResource(ConfigResourceType.TOPIC, topic, {_LIMIT: None})
    try:
        async with admin_client(settings) as admin:
            answers = await admin.describe_configs([resource])
        found = [entry[1] for answer in answers for *_, entries in answer.resources for entry in entries]
        return min([MAX_RECORD_BYTES, *[int(value) for value in found if value and value.isdecimal()]])
    except KafkaError:
        return MAX_RECORD_BYTES

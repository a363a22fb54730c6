"""Asks Kafka how large a record of a topic may be, so that files are cut into records that Kafka accepts."""

from typing import Final

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from schemas.settings import Settings
from services.runtime.kafka import MAX_RECORD_BYTES, admin_client

_LIMIT: Final = "max.message.bytes"


async def most_record_bytes(topic: str, settings: Settings) -> int:
    """Most bytes of a batch on a topic: `MAX_RECORD_BYTES`, or the topic's limit if Kafka reports a lower one."""
    resource = ConfigResource(ConfigResourceType.TOPIC, topic, {_LIMIT: None})
    try:
        async with admin_client(settings) as admin:
            answers = await admin.describe_configs([resource])
        found = [entry[1] for answer in answers for *_, entries in answer.resources for entry in entries]
        return min([MAX_RECORD_BYTES, *[int(value) for value in found if value and value.isdecimal()]])
    except KafkaError:
        return MAX_RECORD_BYTES

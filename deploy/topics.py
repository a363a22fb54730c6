"""Creates the topics of the registry on a cluster: `python -m deploy.topics`, as often as you like.

A topic that exists is left alone; one that exists with another partition count is reported, because keys would then
lie on other partitions than its co-partitioned topics have them.
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from schemas.settings import Settings
from schemas.topics import TOPICS, Topic
from services.runtime.kafka import make_admin

_ATTEMPT_SECONDS = 60.0
_PAUSE_SECONDS = 0.05


class TopicsError(Exception):
    """The topics are not as the registry says; the text is one sentence that tells what to do."""


@dataclass(frozen=True, slots=True)
class WantedTopic:
    """A registry topic under its name and with its settings on this cluster."""

    name: str
    partitions: int
    replication_factor: int
    config: Mapping[str, str]


def wanted_topics(settings: Settings, registry: Sequence[Topic] = TOPICS) -> tuple[WantedTopic, ...]:
    """The registry as these settings want it."""
    return tuple(
        WantedTopic(
            settings.topic_prefix + topic.name,
            topic.partitions or settings.partitions,
            settings.replication_factor,
            topic.config(keep_days=settings.keep_days),
        )
        for topic in registry
    )


async def create_topics(settings: Settings) -> tuple[str, ...]:
    """Makes sure that all topics exist; returns the names of those it made.

    Raises:
        TopicsError: a topic has another partition count, or the cluster refused or did not answer.
    """
    admin = make_admin(settings)
    try:
        async with asyncio.timeout(_ATTEMPT_SECONDS):
            await admin.start()
            return await _create_missing(admin, wanted_topics(settings))
    except (KafkaError, TimeoutError) as error:
        raise TopicsError(
            f"The topics could not be created on Kafka at {settings.kafka} ({type(error).__name__}): "
            "check SCRUB_KAFKA and that the cluster is up."
        ) from error
    finally:
        await admin.close()


async def _create_missing(admin: AIOKafkaAdminClient, wanted: Sequence[WantedTopic]) -> tuple[str, ...]:
    existing = await _partition_counts(admin)
    missing = [topic for topic in wanted if topic.name not in existing]
    created = await _create(admin, missing) if missing else ()
    # A broker learns of a new topic some time after the controller made it.
    while not {topic.name for topic in wanted} <= existing.keys():
        await asyncio.sleep(_PAUSE_SECONDS)
        existing = await _partition_counts(admin)
    _refuse_other_partition_counts(wanted, existing)
    return created


async def _partition_counts(admin: AIOKafkaAdminClient) -> Mapping[str, int]:
    return {one["topic"]: len(one["partitions"]) for one in await admin.describe_topics()}


async def _create(admin: AIOKafkaAdminClient, missing: Sequence[WantedTopic]) -> tuple[str, ...]:
    new = [
        NewTopic(topic.name, topic.partitions, topic.replication_factor, topic_configs=dict(topic.config))
        for topic in missing
    ]
    answer = await admin.create_topics(new)
    created = []
    for name, code, *rest in answer.topic_errors:
        error = for_code(code)
        if code == 0:
            created.append(name)
        elif error is not TopicAlreadyExistsError:  # another process may have been quicker
            reason = f"{error.__name__} {rest[0] or ''}" if rest else error.__name__
            raise TopicsError(f"Kafka refused to create topic {name}: {reason.strip()}.")
    return tuple(created)


def _refuse_other_partition_counts(wanted: Sequence[WantedTopic], counts: Mapping[str, int]) -> None:
    wrong = [topic for topic in wanted if counts[topic.name] != topic.partitions]
    if wrong:
        first, others = wrong[0], f" and {len(wrong) - 1} other topics likewise" if len(wrong) > 1 else ""
        raise TopicsError(
            f"Topic {first.name} has {counts[first.name]} partitions instead of {first.partitions}{others}: "
            "set SCRUB_PARTITIONS to what they have, or delete them (all data in them is lost) and start again."
        )


def main() -> int:
    """Creates the topics on `SCRUB_KAFKA`; returns the exit code."""
    try:
        created = asyncio.run(create_topics(Settings()))
    except TopicsError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{len(created)} topics created, {len(TOPICS) - len(created)} were there")
    return 0


if __name__ == "__main__":
    sys.exit(main())

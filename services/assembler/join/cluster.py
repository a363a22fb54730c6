"""Decides whether the join can work with the cluster: by its id, its topics and their numbers of partitions."""

from collections.abc import Mapping
from dataclasses import dataclass

from aiokafka.errors import KafkaError

from schemas import topics
from schemas.settings import Settings
from services.runtime.kafka import admin_client, topic_name
from services.runtime.process import RefusedToStart

TOGETHER = (
    topics.UPLOAD_ROWS,
    topics.REJECTED_ROWS,
    topics.LOOKUP_RESULTS,
    topics.UPLOAD_EVENTS,
    topics.PLAN_QUESTIONS,
)
"""The topics that a join reads together: it gets equal partition numbers of all of them."""
OTHERS = (topics.UPLOAD_COMPLETIONS, topics.UPLOAD_PROGRESS, topics.BAD_RECORDS)


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster's id and the number of partitions of each topic on it."""

    id: str
    partitions: Mapping[str, int]


async def look_at_cluster(settings: Settings) -> Cluster:
    """Asks the cluster for its id and topics.

    Raises:
        RefusedToStart: Kafka does not answer.
    """
    try:
        async with admin_client(settings) as admin:
            cluster_id = str((await admin.describe_cluster())["cluster_id"])
            described = await admin.describe_topics(await admin.list_topics())
    except KafkaError as error:
        raise RefusedToStart(
            f"Kafka at {settings.kafka} does not answer ({type(error).__name__}): check SCRUB_KAFKA."
        ) from error
    return Cluster(cluster_id, {topic["topic"]: len(topic["partitions"]) for topic in described})


def check_topics(cluster: Cluster, settings: Settings) -> None:
    """Raises RefusedToStart if a topic is missing, or those that are read together are not partitioned alike."""
    missing = [
        name for name in (topic_name(topic, settings) for topic in TOGETHER + OTHERS) if name not in cluster.partitions
    ]
    if missing:
        raise RefusedToStart(
            f"Kafka at {settings.kafka} has no topic {', '.join(missing)}: create the topics with"
            " python -m deploy.topics."
        )
    counts = {name: cluster.partitions[name] for name in (topic_name(topic, settings) for topic in TOGETHER)}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
        raise RefusedToStart(f"These topics need equal numbers of partitions, but have: {listed}. Create them anew.")

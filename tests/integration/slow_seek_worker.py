"""A lookup worker that takes half a second over each partition when it goes to where each was left."""

import asyncio
import sys
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.settings import Settings
from services.lookup.worker.role import main
from services.runtime.process import run

committed = AIOKafkaConsumer.committed


async def slowly(self: AIOKafkaConsumer, partition: TopicPartition, **more: Any) -> Any:
    """Faust asks for each commit just before it seeks there."""
    await asyncio.sleep(0.5)
    print(f"goes on with {partition.topic} {partition.partition}", flush=True)
    return await committed(self, partition, **more)


if __name__ == "__main__":
    AIOKafkaConsumer.committed = slowly
    sys.exit(run("worker", main, Settings()))

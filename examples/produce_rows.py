"""Scrubs rows that another system produces itself, without any file or HTTP: a plain Kafka producer and consumer.

    python examples/produce_rows.py --kafka 127.0.0.1:9092 +14155550100 +14155550101

The protocol, in the order in which it happens:

1. `upload-events`, key: an upload id of your own (a UUID): `upload_opened` with `operation` `kafka` and no file.
2. `upload-rows`, key: the phone (E.164): one record per row. Rows are numbered from 1. The key decides the partition by
   murmur2, the default of Java clients, kafka-python, aiokafka, and of librdkafka with `partitioner=murmur2_random`.
3. `upload-events` again: `upload_fed` with the number of rows. Only now the service knows that nothing is missing.
4. `upload-completions`, same key: a CloudEvent in binary mode. Its value is the finished upload with all its counts.

Everything may be sent twice: the upload id and the row number make repetitions harmless. This file uses nothing of the
service's own code on purpose; the JSON Schemas of all messages are in `schemas/`.
"""

import argparse
import asyncio
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

OWNER = "local"
MAX_AGE = timedelta(days=30)
"""How old an answer may be that the service already has. 0 asks the lookup API anew for each phone."""


def rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def encoded(message: dict[str, Any]) -> bytes:
    return json.dumps(message, ensure_ascii=False).encode()


def opened(upload_id: str, at: datetime, columns: list[str]) -> dict[str, Any]:
    """Step 1: what begins, and whose it is. `columns` become the header of the result file."""
    return {
        "type": "upload_opened",
        "upload_id": upload_id,
        "at": rfc3339(at),
        "by": OWNER,
        "name": "rows from a producer",
        "owner": OWNER,
        "operation": "kafka",
        "columns": columns,
    }


def row(upload_id: str, at: datetime, number: int, cells: list[str], phone: str) -> dict[str, Any]:
    """Step 2: `wanted_at` is the upload's time for all of its rows; answers since `accept_since` are reused."""
    return {
        "upload_id": upload_id,
        "row": number,
        "phone": phone,
        "cells": cells,
        "owner": OWNER,
        "priority": 3,
        "wanted_at": rfc3339(at),
        "accept_since": rfc3339(at - MAX_AGE),
    }


def fed(upload_id: str, rows: int) -> dict[str, Any]:
    """Step 3: nothing comes after this."""
    return {
        "type": "upload_fed",
        "upload_id": upload_id,
        "at": rfc3339(datetime.now(UTC)),
        "by": OWNER,
        "rows": rows,
        "rejected": 0,
    }


async def produce(kafka: str, prefix: str, upload_id: str, phones: list[str]) -> None:
    """Steps 1 to 3. Each step is acknowledged before the next begins."""
    at = datetime.now(UTC)
    key = upload_id.encode()
    async with AIOKafkaProducer(bootstrap_servers=kafka, acks="all", enable_idempotence=True) as producer:
        beginning = encoded(opened(upload_id, at, ["name", "phone"]))
        await producer.send_and_wait(f"{prefix}upload-events", beginning, key=key)
        sent = []
        for number, phone in enumerate(phones, start=1):
            value = encoded(row(upload_id, at, number, [f"Contact {number}", phone], phone))
            sent.append(await producer.send(f"{prefix}upload-rows", value, key=phone.encode()))
        await asyncio.gather(*sent)
        await producer.send_and_wait(f"{prefix}upload-events", encoded(fed(upload_id, len(phones))), key=key)


async def completion(consumer: AIOKafkaConsumer, upload_id: str) -> dict[str, Any]:
    """Step 4: the first completion event of the upload; its `ce_id` is the same however often it is delivered."""
    async for record in consumer:
        if record.key == upload_id.encode():
            headers = {name: value.decode() for name, value in record.headers}
            return {"ce_type": headers["ce_type"], "ce_id": headers["ce_id"], "upload": json.loads(record.value)}
    raise ConnectionError("the consumer was closed")


async def scrub(kafka: str, prefix: str, phones: list[str], wait_seconds: float) -> dict[str, Any]:
    """Produces the rows and waits for the completion event.

    Raises:
        TimeoutError: the upload was not finished in time. It goes on; its id finds it again.
    """
    upload_id = str(uuid.uuid4())
    async with AIOKafkaConsumer(f"{prefix}upload-completions", bootstrap_servers=kafka) as consumer:
        await consumer.seek_to_end()  # listen from here on, before anything is sent
        print(f"upload {upload_id}: sending {len(phones)} rows")
        await produce(kafka, prefix, upload_id, phones)
        return await asyncio.wait_for(completion(consumer, upload_id), wait_seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description="Scrub phones through Kafka alone.")
    parser.add_argument("phones", nargs="+", metavar="PHONE", help="in E.164, such as +14155550100")
    parser.add_argument("--kafka", default="127.0.0.1:9092", help="bootstrap servers (default: %(default)s)")
    parser.add_argument("--prefix", default="", help="what stands before the service's topic names")
    parser.add_argument(
        "--wait", type=float, default=120.0, metavar="SECONDS", help="longest wait (default: %(default)s)"
    )
    arguments = parser.parse_args()
    finished = asyncio.run(scrub(arguments.kafka, arguments.prefix, arguments.phones, arguments.wait))
    print(f"{finished['ce_type']} {finished['ce_id']}")
    print(json.dumps(finished["upload"], indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()

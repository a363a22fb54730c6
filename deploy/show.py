"""Prints the newest messages of a topic, decoded and with phones masked: `python -m deploy.show TOPIC`.

It joins no consumer group and commits nothing, so no role notices it.
"""

import argparse
import asyncio
import heapq
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from pydantic import BaseModel

from deploy.masking import JsonValue, masked, masked_text
from schemas.codec import UndecodableRecord, decode, decode_one_of, encode
from schemas.settings import Settings
from schemas.topics import TOPICS, UPLOAD_EVENTS, Topic
from schemas.upload_events import UPLOAD_EVENT
from services.runtime.kafka import make_consumer, partitions_of, read_to_end, started, topic_name

EXIT_DONE, EXIT_ERROR = 0, 1
DEFAULT_LAST: Final = 20
MOST_LAST: Final = 10_000
_PAUSE_MS: Final = 500
_BY_NAME: Final = {topic.name: topic for topic in TOPICS}
_Line = tuple[int, int, int, str]
"""Timestamp in milliseconds, partition, offset and the line itself."""


def line_of(topic: Topic, record: ConsumerRecord) -> str:
    """One record as a line: time, `partition@offset`, key and message. Never a phone, nor a text from a file."""
    moment = datetime.fromtimestamp(max(0, record.timestamp) / 1000, UTC).isoformat(timespec="milliseconds")
    return f"{moment} {record.partition}@{record.offset} {_key_of(record.key)} {_message_of(topic, record)}"


def _key_of(key: bytes | None) -> str:
    if key is None:
        return "-"
    try:
        return masked_text(key.decode())
    except UnicodeDecodeError:
        return f"({len(key)} bytes)"


def _message_of(topic: Topic, record: ConsumerRecord) -> str:
    if record.value is None:
        return "tombstone"
    if not topic.messages:
        return f"({len(record.value)} bytes)"
    try:
        message = _decoded(topic, record.value)
    except UndecodableRecord as error:
        return f"undecodable: {masked_text(str(error))}"
    document: JsonValue = json.loads(encode(message))
    return json.dumps(masked(document), ensure_ascii=False)


def _decoded(topic: Topic, value: bytes) -> BaseModel:
    if topic is UPLOAD_EVENTS:
        return decode_one_of(UPLOAD_EVENT, value, what="UploadEvent")
    return decode(topic.messages[0], value)


async def show(settings: Settings, topic: Topic, *, last: int, follow: bool, write: Callable[[str], None]) -> None:
    """Writes the newest `last` records of the topic, oldest first; with `follow` also every later one, until cancelled.

    1. Read each partition's last records. 2. Write the newest of all. 3. Go on with what comes.

    Raises:
        KafkaError: Kafka does not answer.
        LookupError: the topic does not exist.
    """
    async with started(make_consumer(settings)) as consumer:
        partitions = await partitions_of(consumer, topic_name(topic, settings))
        consumer.assign(partitions)
        await _seek_back(consumer, partitions, last)
        newest: list[_Line] = []
        # 1. A heap of at most `last` lines: a topic may hold more than memory does.
        async for record in read_to_end(consumer, partitions):
            line = (record.timestamp, record.partition, record.offset, line_of(topic, record))
            heapq.heappush(newest, line) if len(newest) < last else heapq.heappushpop(newest, line)
        # 2. Between partitions only the timestamps tell which is newer.
        for *_place, text in sorted(newest):
            write(text)
        # 3. The consumer stands where step 1 ended, so nothing is left out between.
        while follow:
            for arrived in (await consumer.getmany(timeout_ms=_PAUSE_MS)).values():
                for record in arrived:
                    write(line_of(topic, record))


async def _seek_back(consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition], last: int) -> None:
    begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
    for partition in partitions:
        consumer.seek(partition, max(begins[partition], ends[partition] - last))


def _most(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_LAST:
        raise argparse.ArgumentTypeError(f"must be from 1 to {MOST_LAST}")
    return int(text)


def main(arguments: Sequence[str], *, program: str = "python -m deploy.show") -> int:
    """Prints the messages; returns the exit code: 0 done or stopped, 1 Kafka or the topic is not there, 2 usage."""
    parser = argparse.ArgumentParser(program, description="Print a topic's newest messages, phones masked.")
    parser.add_argument("topic", choices=sorted(_BY_NAME), metavar="TOPIC", help=", ".join(sorted(_BY_NAME)))
    parser.add_argument("--last", type=_most, default=DEFAULT_LAST, metavar="N", help=f"how many ({DEFAULT_LAST})")
    parser.add_argument("--follow", action="store_true", help="go on with new messages until Ctrl-C")
    given = parser.parse_args(arguments)
    settings = Settings()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # one sentence says what its lines would
    try:
        asyncio.run(show(settings, _BY_NAME[given.topic], last=given.last, follow=given.follow, write=_print))
    except KeyboardInterrupt:
        return EXIT_DONE
    except BrokenPipeError:
        # Whoever read this, such as `head`, has enough. Python would fail once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_DONE
    except LookupError as error:
        print(error, file=sys.stderr)
        return EXIT_ERROR
    except KafkaError as error:
        print(
            f"Kafka at {settings.kafka} does not answer ({type(error).__name__}): check SCRUB_KAFKA.", file=sys.stderr
        )
        return EXIT_ERROR
    return EXIT_DONE


def _print(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

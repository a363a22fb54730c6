"""Decides from outside whether a stack works: its pages answer, and every other part has a recent heartbeat."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import httpx
from aiokafka import TopicPartition

from schemas.codec import UndecodableRecord, decode
from schemas.parts import PartStatus
from schemas.settings import Settings
from schemas.topics import PART_STATUS
from services.runtime.kafka import make_consumer, started, topic_name

FRESH = timedelta(seconds=10)
_WORKING = ("running", "standby")
_PAUSE_SECONDS = 0.1


def is_working(status: PartStatus, now: datetime) -> bool:
    """Whether a part's last heartbeat is recent and says that it works or stands by."""
    return status.state in _WORKING and now - status.seen_at <= FRESH


async def wait_until_ready(settings: Settings, url: str, pids: Callable[[], Mapping[str, int | None]]) -> None:
    """Returns once the web role answers and all other roles work. `pids` returns their processes by name."""
    await asyncio.gather(_wait_for_pages(url), _wait_for_parts(settings, pids))


async def _wait_for_pages(url: str) -> None:
    async with httpx.AsyncClient(timeout=5.0, trust_env=False) as client:
        while not await _pages_answer(client, url):
            await asyncio.sleep(_PAUSE_SECONDS)


async def _pages_answer(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(f"{url}/health/ready")).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


async def _wait_for_parts(settings: Settings, pids: Callable[[], Mapping[str, int | None]]) -> None:
    partition = TopicPartition(topic_name(PART_STATUS, settings), 0)
    async with started(make_consumer(settings)) as consumer:
        consumer.assign([partition])
        latest: dict[int, PartStatus] = {}
        while not _all_work(pids(), latest):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    status = _status(record.value)
                    if status is not None:
                        latest[status.pid] = status


def _all_work(pids: Mapping[str, int | None], latest: Mapping[int, PartStatus]) -> bool:
    now = datetime.now(UTC)
    found = (latest.get(pid) if pid is not None else None for pid in pids.values())
    return all(status is not None and is_working(status, now) for status in found)


def _status(value: bytes | None) -> PartStatus | None:
    try:
        return decode(PartStatus, value)
    except UndecodableRecord:
        return None  # a heartbeat of another version says nothing about this stack

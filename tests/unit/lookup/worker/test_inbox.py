"""The inbox of an agent: when a batch is taken, when it is acknowledged, and how much is held."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import faust
import pytest

from schemas import topics
from services.lookup.worker.inbox import BUFFERED_BYTES, Batch, Inbox
from services.lookup.worker.read_positions import Partition
from tests.support.waiting import eventually
from tests.unit.lookup.worker.worker_parts import record

TOPIC = topics.UPLOAD_ROWS.name


@dataclass(slots=True, eq=False)
class Message:
    offset: int
    topic: str = TOPIC
    partition: int = 0


@dataclass(slots=True, eq=False)
class Event:
    """A run, as a stream of Faust's gives it."""

    value: tuple[Any, ...]
    message: Message


@dataclass(slots=True)
class Consumer:
    """The attributes of `BatchConsumer` that the inbox reads and writes."""

    moving: bool = False
    full_topics: set[str] = field(default_factory=set)
    unacked: set[object] = field(default_factory=set)


@dataclass(slots=True)
class App:
    consumer: Consumer = field(default_factory=Consumer)
    rebalancing: bool = False


class Stream:
    """A stream that never ends, and notes what was acknowledged."""

    def __init__(self) -> None:
        self.enable_acks = True
        self.queue: asyncio.Queue[Event] = asyncio.Queue()
        self.acknowledged: list[Event] = []

    async def events(self) -> AsyncIterator[Event]:
        while True:
            yield await self.queue.get()

    async def ack(self, event: Event) -> None:
        self.acknowledged.append(event)


def a_run(count: int = 1, *, value: bytes = b"{}") -> Event:
    run = tuple(record(topics.UPLOAD_ROWS, value, offset=n) for n in range(count))
    return Event(run, Message(count - 1))


def ignored(_: Mapping[Partition, int]) -> None:
    """For tests that do not ask what was noted as done."""


@asynccontextmanager
async def reading(
    work: Callable[[Batch], Awaitable[None]],
    *,
    app: App | None = None,
    done: Callable[[Mapping[Partition, int]], None] = ignored,
    may_begin: Callable[[], bool] = lambda: True,
) -> AsyncIterator[Stream]:
    stream = Stream()
    inbox = Inbox(cast(faust.App, app or App()), TOPIC, work=work, done=done, may_begin=may_begin)
    task = asyncio.create_task(inbox.read(stream))
    try:
        yield stream
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_nothing_is_taken_before_it_may_begin() -> None:
    done: list[int] = []
    asked = 0
    caught_up = False

    async def work(batch: Batch) -> None:
        done.append(len(batch))

    def may_begin() -> bool:
        nonlocal asked
        asked += 1
        return caught_up

    async with reading(work, may_begin=may_begin) as stream:
        await stream.queue.put(a_run(3))
        await eventually(lambda: asked >= 3, what="three questions", seconds=10, pause_seconds=0)
        assert done == []
        assert stream.acknowledged == []
        caught_up = True
        await eventually(lambda: len(stream.acknowledged) == 1, what="one acknowledgement", seconds=10, pause_seconds=0)
        assert done == [3]


async def test_a_run_is_acknowledged_only_once_its_work_is_done() -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()
    done: dict[Partition, int] = {}

    async def work(_: Batch) -> None:
        begun.set()
        await may_end.wait()

    async with reading(work, done=done.update) as stream:
        run = a_run(3)
        await stream.queue.put(run)
        await begun.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        assert stream.acknowledged == []
        assert done == {}
        assert not stream.enable_acks, "Faust itself must acknowledge nothing"
        may_end.set()
        await eventually(
            lambda: stream.acknowledged == [run], what="the acknowledgement of the run", seconds=10, pause_seconds=0
        )
        assert done == {(TOPIC, 0): 3}


async def test_a_run_without_records_is_done_and_acknowledged_behind_the_others() -> None:
    """Offsets that hold no record: the partition is read to their end all the same."""
    worked: list[int] = []
    done: dict[Partition, int] = {}

    async def work(batch: Batch) -> None:
        worked.append(len(batch))

    async with reading(work, done=done.update) as stream:
        runs = [a_run(2), Event((), Message(5))]
        for run in runs:
            await stream.queue.put(run)
        await eventually(
            lambda: stream.acknowledged == runs, what="the acknowledgement of all runs", seconds=10, pause_seconds=0
        )
        assert sum(worked) == 2
        assert done == {(TOPIC, 0): 6}


async def test_work_that_fails_ends_the_agent_and_acknowledges_nothing() -> None:
    async def work(_: Batch) -> None:
        raise OSError

    stream = Stream()
    inbox = Inbox(cast(faust.App, App()), TOPIC, work=work, done=ignored)
    await stream.queue.put(a_run())
    with pytest.raises(ExceptionGroup):
        await asyncio.wait_for(inbox.read(stream), 10)
    assert stream.acknowledged == []


async def test_what_has_not_begun_is_given_back_when_partitions_move() -> None:
    app = App(rebalancing=True)

    async def work(_: Batch) -> None:
        raise AssertionError("nothing may be taken meanwhile")

    async with reading(work, app=app) as stream:
        run = a_run()
        app.consumer.unacked.add(run.message)
        app.consumer.moving = True
        await stream.queue.put(run)
        await eventually(
            lambda: not app.consumer.unacked, what="nothing to be unacknowledged", seconds=10, pause_seconds=0
        )
        assert stream.acknowledged == []


async def test_a_topic_is_not_fetched_while_its_inbox_holds_too_many_bytes() -> None:
    """Well-compressed records are few for Kafka and many bytes here."""
    app = App()
    may_begin = False
    done: list[int] = []

    async def work(batch: Batch) -> None:
        done.append(len(batch))

    async with reading(work, app=app, may_begin=lambda: may_begin) as stream:
        value = b"x" * 3_000_000
        for _ in range(BUFFERED_BYTES // len(value)):
            await stream.queue.put(a_run(value=value))
        await eventually(stream.queue.empty, what="the queue to be empty", seconds=10, pause_seconds=0)
        assert app.consumer.full_topics == set()
        await stream.queue.put(a_run(value=value))
        await eventually(
            lambda: app.consumer.full_topics == {TOPIC}, what="the topic to be full", seconds=10, pause_seconds=0
        )
        may_begin = True
        await eventually(lambda: bool(done), what="something to be done", seconds=10, pause_seconds=0)
        assert app.consumer.full_topics == set()

"""`show` on a real broker: the newest messages of all partitions, in their order, and nothing else."""

import asyncio

import pytest

from deploy.show import main, show
from schemas.settings import Settings
from schemas.topics import UPLOAD_ROWS
from services.runtime.kafka import make_producer, started, topic_name

PARTITIONS = 4


@pytest.fixture
def settings(broker: str, topics: str) -> Settings:
    return Settings(kafka=broker, topic_prefix=topics)


async def put(settings: Settings, numbers: range) -> None:
    async with started(make_producer(settings)) as producer:
        for number in numbers:
            # One at a time: the topic's timestamps are the broker's, so the order of writing is that of time.
            await producer.send_and_wait(
                topic_name(UPLOAD_ROWS, settings), b"no row %d" % number, partition=number % PARTITIONS
            )
            await asyncio.sleep(0.002)


async def test_the_newest_of_all_partitions_oldest_first(settings: Settings) -> None:
    await put(settings, range(20))
    lines: list[str] = []
    await show(settings, UPLOAD_ROWS, last=6, follow=False, write=lines.append)
    places = [line.split()[1] for line in lines]
    assert places == [f"{number % PARTITIONS}@{number // PARTITIONS}" for number in range(14, 20)]
    await show(settings, UPLOAD_ROWS, last=100, follow=False, write=lines.append)
    assert len(lines) == 6 + 20


async def test_an_empty_topic_shows_nothing(settings: Settings) -> None:
    await show(settings, UPLOAD_ROWS, last=5, follow=False, write=pytest.fail)


async def test_follow_goes_on_with_what_comes(settings: Settings) -> None:
    await put(settings, range(4))
    lines: asyncio.Queue[str] = asyncio.Queue()
    following = asyncio.create_task(show(settings, UPLOAD_ROWS, last=2, follow=True, write=lines.put_nowait))
    async with asyncio.timeout(60):
        first = [await lines.get() for _ in range(2)]
        await put(settings, range(4, 6))
        later = [await lines.get() for _ in range(2)]
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert [line.split()[1] for line in (*first, *later)] == ["2@0", "3@0", "0@1", "1@1"]


def test_a_topic_that_does_not_exist(
    broker: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SCRUB_KAFKA", broker)
    monkeypatch.setenv("SCRUB_TOPIC_PREFIX", "nobody-")
    assert main(["upload-rows"]) == 1
    assert "nobody-upload-rows does not exist" in capsys.readouterr().err

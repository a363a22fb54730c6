"""The last word of a part that ends is its last."""

import asyncio

from schemas.codec import decode
from schemas.parts import PartStatus
from schemas.settings import Settings
from services.runtime.heartbeat import Heartbeat, PartHealth


class Taken:
    """Takes signs of life in place of Kafka. The last word is acknowledged only when it is let go."""

    def __init__(self) -> None:
        self.signs: list[PartStatus] = []
        self.has_first = asyncio.Event()
        self.has_last = asyncio.Event()
        self.let_go = asyncio.Event()

    async def send_and_wait(self, _topic: str, value: bytes, *, key: bytes) -> None:
        assert key == b"worker-1"
        sign = decode(PartStatus, value)
        self.signs.append(sign)
        self.has_first.set()
        if sign.state == "stopping":
            self.has_last.set()
            await self.let_go.wait()


async def test_nothing_is_said_after_the_last_word() -> None:
    """The health has not changed, so the task that tells it would take the last word for news and correct it."""
    taken = Taken()
    sign = Heartbeat(
        taken, Settings(kafka="127.0.0.1:1"), role="worker", health=lambda: PartHealth("running", active=True)
    )
    async with sign, asyncio.timeout(10):
        await taken.has_first.wait()
        telling = sign._task
        assert telling is not None
        ending = asyncio.create_task(sign.ending_by(OSError()))
        await taken.has_last.wait()
        # Ended while the last word is still on its way.
        await asyncio.wait([telling])
        taken.let_go.set()
        await ending
        assert [each.state for each in taken.signs] == ["running", "stopping"]
        assert taken.signs[-1].error == "ended by OSError"

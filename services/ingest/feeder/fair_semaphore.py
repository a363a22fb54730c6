"""Decides whose file is read next. Owners take turns, so thousands of files of one owner delay nobody else."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class FairSemaphore:
    """A semaphore with `at_once` slots. Waiting owners take turns, each with its tasks in order."""

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def slot(self, owner: str) -> AsyncIterator[None]:
        """Hold a slot for this owner while the block lasts."""
        await self._wait(owner)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, owner: str) -> None:
        if self._free:
            self._free -= 1
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner, deque()).append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        while self._waiting:
            owner, queue = self._waiting.popitem(last=False)
            given = _next_of(queue)
            if queue:
                self._waiting[owner] = queue
            if given is not None:
                given.set_result(None)
                return
        self._free += 1


def _next_of(queue: "deque[asyncio.Future[None]]") -> "asyncio.Future[None] | None":
    """The first waiter that was not cancelled."""
    while queue:
        first = queue.popleft()
        if not first.done():
            return first
    return None

"""A lookup worker that remembers no result before its rows have come and were turned away a few times."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from schemas.settings import Settings
from services.lookup.worker import role as worker
from services.lookup.worker.inbox import Batch, Inbox
from services.lookup.worker.remember import Remember
from services.runtime.process import run

TURNED_AWAY = 5
remembers = Remember.work
rows_were_turned_away = asyncio.Event()


class CountingInbox(Inbox):
    """Counts how often it holds records and may not begin. Only the inbox of the rows ever may not."""

    def __init__(self, *args: Any, may_begin: Callable[[], bool] = lambda: True, **more: Any) -> None:
        self._times = 0

        def ask() -> bool:
            may = may_begin()
            self._times += not may
            if self._times >= TURNED_AWAY:
                rows_were_turned_away.set()
            return may

        super().__init__(*args, may_begin=ask, **more)


async def hold_back(self: Remember, batch: Batch) -> None:
    await rows_were_turned_away.wait()
    await remembers(self, batch)


if __name__ == "__main__":
    Remember.work = hold_back  # type: ignore[method-assign]  # the test's own fault
    vars(worker)["Inbox"] = CountingInbox
    sys.exit(run("worker", worker.main, Settings()))

"""Decides which log lines are repetitions: a client library that waits for its broker logs it ten times a second."""

import logging
import time
from collections.abc import Callable

REPEAT_SECONDS = 30.0


class RepeatFilter(logging.Filter):
    """Lets a line of a client library pass once in half a minute, whatever values are filled into it."""

    def __init__(self, *libraries: str, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._libraries = libraries
        self._clock = clock
        self._passed_at: dict[tuple[str, int], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] not in self._libraries:
            return True
        place, now = (record.pathname, record.lineno), self._clock()
        if now - self._passed_at.get(place, -REPEAT_SECONDS) < REPEAT_SECONDS:
            return False
        self._passed_at[place] = now
        return True

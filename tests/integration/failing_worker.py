"""A lookup worker whose work fails on some phones, as a defect in it would: `FAILING_ROW` and `FAILING_RESULT`."""

import sys
from collections.abc import Sequence

from schemas.settings import Settings
from services.lookup.look_up import LookUp, PlacedRow
from services.lookup.phones import Heard, Phones
from services.lookup.worker import main
from services.runtime.process import run
from tests.integration.worker_process import phone

FAILING_ROW = phone(13)
FAILING_RESULT = phone(17)
look_up, remember = LookUp._look_up, Phones.remember


async def look_up_or_fail(self: LookUp, rows: Sequence[PlacedRow]) -> None:
    if any(placed.row.phone == FAILING_ROW for placed in rows):
        raise OverflowError(FAILING_ROW)
    await look_up(self, rows)


async def remember_or_fail(self: Phones, heard: Sequence[Heard]) -> None:
    if any(each.phone == FAILING_RESULT for each in heard):
        raise KeyError(FAILING_RESULT)
    await remember(self, heard)


if __name__ == "__main__":
    LookUp._look_up = look_up_or_fail  # type: ignore[method-assign]
    Phones.remember = remember_or_fail  # type: ignore[method-assign]
    sys.exit(run("worker", main, Settings()))

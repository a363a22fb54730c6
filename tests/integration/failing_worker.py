"""A lookup worker whose work fails on some phones: as a defect would on two, as a full disk would on a third."""

import sys
from collections.abc import Sequence

from schemas.settings import Settings
from services.lookup.worker.look_up import LookUp, PlacedRow
from services.lookup.worker.phones_table import PhonesTable, PlacedUpdate, TableError
from services.lookup.worker.role import main
from services.runtime.process import run
from tests.integration.worker_process import phone

FAILING_ROW = phone(13)
FAILING_RESULT = phone(17)
FULL_DISK = phone(19)
look_up, remember = LookUp._look_up, PhonesTable.remember


async def look_up_or_fail(self: LookUp, rows: Sequence[PlacedRow]) -> None:
    if any(placed.row.phone == FAILING_ROW for placed in rows):
        raise OverflowError(FAILING_ROW)
    await look_up(self, rows)


async def remember_or_fail(self: PhonesTable, updates: Sequence[PlacedUpdate]) -> None:
    if any(each.phone == FAILING_RESULT for each in updates):
        raise KeyError(FAILING_RESULT)
    if any(each.phone == FULL_DISK for each in updates):
        raise TableError("no space left")
    await remember(self, updates)


if __name__ == "__main__":
    LookUp._look_up = look_up_or_fail  # type: ignore[method-assign]  # the test's own fault
    PhonesTable.remember = remember_or_fail  # type: ignore[method-assign]  # the test's own fault
    sys.exit(run("worker", main, Settings()))

"""A lookup worker whose rows never get done, with a watchdog that is patient for ten seconds only."""

import asyncio
import sys

from schemas.settings import Settings
from services.lookup.worker.inbox import Batch
from services.lookup.worker.look_up import LookUp
from services.lookup.worker.publishing import publishing
from services.lookup.worker.role import Worker
from services.lookup.worker.table_folder import folder_of, locked_folder
from services.runtime.process import run


async def never_done(self: LookUp, batch: Batch) -> None:  # noqa: ARG001 - the signature of what it stands in for
    print(f"began {len(batch)} rows", flush=True)
    await asyncio.Event().wait()


async def main(settings: Settings, stop: asyncio.Event) -> None:
    with locked_folder(folder_of(settings)) as folder:
        async with publishing(settings) as publisher:
            await Worker(settings, publisher, folder=folder, patience_seconds=10.0).run(stop)


if __name__ == "__main__":
    LookUp.work = never_done  # type: ignore[method-assign]  # the test's own fault
    sys.exit(run("worker", main, Settings()))

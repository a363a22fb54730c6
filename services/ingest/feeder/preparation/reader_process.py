"""Runs one piece of work in a child process of its own. The child is killed when its awaiting task is cancelled."""

import asyncio
import multiprocessing
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess

from services.ingest.feeder.preparation.reader_child import child_main

_context = multiprocessing.get_context("forkserver")


def warm_up(modules: list[str]) -> None:
    """Start the process that children are forked from. It imports `modules` once for all of them."""
    _context.set_forkserver_preload(modules)
    forkserver.ensure_running()


async def run_in_child(work: Callable[[bytes], None], argument: bytes, *, niceness: int = 0) -> int:
    """Run `work(argument)` in a child and return its exit code. A negative code is the number of a signal.

    A child with a high niceness yields to all other processes. Cancelling kills the child.
    """
    process = _context.Process(target=child_main, args=(work, argument, niceness))
    process.start()
    try:
        await _ended(process)
    finally:
        process.kill()
        process.join()
        exit_code = process.exitcode
        process.close()
    assert exit_code is not None
    return exit_code


async def _ended(process: BaseProcess) -> None:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def on_exit() -> None:
        if not ended.done():
            ended.set_result(None)

    loop.add_reader(process.sentinel, on_exit)
    try:
        await ended
    finally:
        loop.remove_reader(process.sentinel)

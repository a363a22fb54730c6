"""Children: their exit is told, and none outlives whoever wanted its work."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from services.ingest.feeder.preparation.reader_process import run_in_child
from tests.support.waiting import eventually, eventually_sync

STARTS_A_CHILD = """
import asyncio, sys
from services.ingest.feeder.preparation.reader_process import run_in_child
from tests.unit.ingest.feeder.preparation.test_reader_process import wait_for_ever
asyncio.run(run_in_child(wait_for_ever, sys.argv[1].encode()))
"""


def write_file(path: bytes) -> None:
    Path(os.fsdecode(path)).write_text("done")


def crash(_: bytes) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def wait_for_ever(path: bytes) -> None:
    """Leaves its process id in a file, then sleeps."""
    target = Path(os.fsdecode(path))
    target.with_suffix(".part").write_text(str(os.getpid()))
    target.with_suffix(".part").rename(target)
    signal.pause()


def pid_in(path: Path) -> int:
    eventually_sync(path.exists, what=f"{path.name} to appear", seconds=30)
    return int(path.read_text())


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def test_the_work_is_done_elsewhere(tmp_path: Path) -> None:
    assert await run_in_child(write_file, os.fsencode(tmp_path / "f")) == 0
    assert (tmp_path / "f").read_text() == "done"


async def test_a_child_that_dies_tells_of_what() -> None:
    assert await run_in_child(crash, b"") == -signal.SIGKILL


async def test_a_cancelled_child_is_killed(tmp_path: Path) -> None:
    work = asyncio.create_task(run_in_child(wait_for_ever, os.fsencode(tmp_path / "pid")))
    pid = await asyncio.to_thread(pid_in, tmp_path / "pid")
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    await eventually(lambda: is_gone(pid), what="the child to be gone", seconds=30)


def test_a_child_does_not_outlive_its_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", STARTS_A_CHILD, str(tmp_path / "pid")])
    pid = pid_in(tmp_path / "pid")
    parent.kill()
    parent.wait()
    eventually_sync(lambda: is_gone(pid), what="the child to be gone", seconds=30)

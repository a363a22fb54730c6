"""Children of the supervisor: started again when they die, stopped in order, never left behind."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from deploy.local.supervisor.child import Child, Part, backoff_seconds
from tests.support.waiting import eventually, eventually_sync

SLEEP = (sys.executable, "-c", "import time; print('begins', flush=True); time.sleep(600)")
STUBBORN = (
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('begins', flush=True); time.sleep(600)",
)
CRASH = (sys.executable, "-c", "raise SystemExit(70)")


class Stage:
    """Makes children and remembers what was said and which processes were started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.pids: list[int] = []
        self.children: list[Child] = []

    def child(self, command: tuple[str, ...]) -> Child:
        child = Child(
            Part("worker-1", command),
            log=self.folder / "worker-1.log",
            say=self.said.append,
            on_start=lambda _part, pid: self.pids.append(pid),
        )
        self.children.append(child)
        return child

    def log(self) -> str:
        return (self.folder / "worker-1.log").read_text(encoding="utf-8")


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    yield made
    for child in made.children:
        await child.stop(grace_seconds=0.1)


async def test_a_child_that_is_killed_is_started_again_and_it_is_said(stage: Stage) -> None:
    child = stage.child(SLEEP)
    await child.start()
    os.kill(stage.pids[0], signal.SIGKILL)
    await eventually(lambda: len(stage.pids) == 2, what="the child to be started again", seconds=20)
    assert child.pid == stage.pids[1] != stage.pids[0]
    assert child.deaths == 1
    assert len(stage.said) == 1
    assert "worker-1" in stage.said[0]
    assert "SIGKILL" in stage.said[0]


async def test_a_child_that_ends_again_and_again_waits_longer_each_time(stage: Stage) -> None:
    child = stage.child(CRASH)
    await child.start()
    await eventually(lambda: child.deaths == 3, what="three deaths", seconds=20)
    assert ["exit code 70" in line for line in stage.said] == [True] * 3
    assert [line.split("again in ")[1].split(" s.")[0] for line in stage.said] == ["0.5", "1", "2"]


def test_the_wait_is_bounded() -> None:
    assert backoff_seconds(1) == 0.5
    assert backoff_seconds(1_000) == 30


async def test_a_stop_is_silent_and_final(stage: Stage) -> None:
    child = stage.child(SLEEP)
    await child.start()
    await eventually(lambda: "begins" in stage.log(), what="the child to begin", seconds=20)
    await child.stop(grace_seconds=10)
    assert child.pid is None
    assert not psutil.pid_exists(stage.pids[0])
    assert stage.said == []
    assert len(stage.pids) == 1


async def test_a_child_that_does_not_stop_is_killed_after_the_grace(stage: Stage) -> None:
    child = stage.child(STUBBORN)
    await child.start()
    await eventually(lambda: "begins" in stage.log(), what="the child to begin", seconds=20)
    await child.stop(grace_seconds=0.2)
    assert not psutil.pid_exists(stage.pids[0])
    assert "killing it" in stage.said[0]


async def test_a_child_between_two_lives_can_be_stopped(stage: Stage) -> None:
    child = stage.child(CRASH)
    await child.start()
    await eventually(lambda: child.deaths == 1, what="its death", seconds=20)
    await child.stop(grace_seconds=10)
    assert child.pid is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")
def test_nothing_outlives_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    program = f"""
import asyncio
from pathlib import Path
from deploy.local.supervisor.child import Child, Part

async def main():
    folder = Path({str(tmp_path)!r})
    for number, command in enumerate(({SLEEP!r}, {STUBBORN!r})):
        started = lambda part, pid: print(pid, flush=True)
        await Child(Part(f"x-{{number}}", command), log=folder / str(number), say=print, on_start=started).start()
    await asyncio.Event().wait()

asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        pids = [int(supervisor.stdout.readline()) for _ in range(2)]
        logs = [tmp_path / str(number) for number in range(2)]
        eventually_sync(
            lambda: all("begins" in log.read_text(encoding="utf-8") for log in logs), seconds=20, what="both"
        )
        supervisor.kill()
    eventually_sync(lambda: not any(map(psutil.pid_exists, pids)), what="the children to be gone", seconds=20)

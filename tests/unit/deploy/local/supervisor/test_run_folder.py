"""The run folder: one supervisor a data folder, and only its own processes are ever ended."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local.errors import StackError
from deploy.local.supervisor.run_folder import Ready, RunFolder


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        yield process
        process.kill()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[RunFolder]:
    made = RunFolder(tmp_path)
    made.lock()
    yield made
    made.close()


def test_what_a_killed_supervisor_left_behind_is_ended(
    folder: RunFolder, sleeper: "subprocess.Popen[bytes]", tmp_path: Path
) -> None:
    folder.write_pid("gate-1", sleeper.pid)
    said: list[str] = []
    folder.end_leftovers(said.append)
    assert not psutil.pid_exists(sleeper.pid)
    assert "gate-1" in said[0]
    assert not (tmp_path / "run" / "gate-1.pid").exists()


def test_another_process_with_a_reused_pid_is_left_alone(
    folder: RunFolder, sleeper: "subprocess.Popen[bytes]", tmp_path: Path
) -> None:
    folder.write_pid("gate-1", sleeper.pid)
    pid_file = tmp_path / "run" / "gate-1.pid"
    before_it_began = psutil.Process(sleeper.pid).create_time() - 60
    os.utime(pid_file, (before_it_began, before_it_began))
    said: list[str] = []
    folder.end_leftovers(said.append)
    assert sleeper.poll() is None
    assert said == []
    assert not pid_file.exists()


@pytest.mark.parametrize("content", ["", "not a number", "999999999"])
def test_a_pid_file_of_nobody_is_removed(folder: RunFolder, tmp_path: Path, content: str) -> None:
    pid_file = tmp_path / "run" / "worker-1.pid"
    pid_file.write_text(content, encoding="ascii")
    folder.end_leftovers(print)
    assert not pid_file.exists()


def test_a_second_supervisor_is_refused(folder: RunFolder, tmp_path: Path) -> None:
    folder.write_ready(Ready("http://127.0.0.1:8000", "127.0.0.1:9092", {"gate-1": 7}))
    with pytest.raises(StackError, match="already running"):
        RunFolder(tmp_path).lock()
    assert folder.read_ready() == Ready("http://127.0.0.1:8000", "127.0.0.1:9092", {"gate-1": 7})


def test_a_stack_is_alive_only_while_its_supervisor_is(folder: RunFolder, tmp_path: Path) -> None:
    ready = Ready("http://127.0.0.1:8000", "127.0.0.1:9092", {"gate-1": 7})
    folder.write_ready(ready)
    text = folder.ready_file.read_text(encoding="utf-8")
    assert RunFolder(tmp_path).read_ready_if_alive() == ready
    folder.close()
    assert RunFolder(tmp_path).read_ready_if_alive() is None
    folder.ready_file.write_text(text, encoding="utf-8")
    assert RunFolder(tmp_path).read_ready_if_alive() is None


def test_a_folder_that_cannot_be_written_is_said_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(StackError, match=r"cannot be written.*--data"):
        RunFolder(tmp_path / "file" / "data").lock()

"""Owns `<data>/run`: who runs (pid files, ready.json), the one supervisor's lock, and ending what one left behind."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from deploy.local.errors import StackError
from services.runtime.file_lock import try_lock

_PATIENCE_SECONDS = 10.0
_CLOCK_SLACK_SECONDS = 2.0
"""The kernel's start time of a process is coarse, and computed from a boot time that clock corrections move."""


@dataclass(frozen=True, slots=True)
class Ready:
    """What `ready.json` says of a running stack."""

    url: str
    kafka: str
    pids: Mapping[str, int]


class RunFolder:
    """The folder of one data folder. Closing releases the lock; so does dying."""

    def __init__(self, data: Path) -> None:
        self._folder = data / "run"
        self._lock: IO[bytes] | None = None

    @property
    def ready_file(self) -> Path:
        return self._folder / "ready.json"

    def lock(self) -> None:
        """Makes this process the data folder's only supervisor.

        Raises:
            StackError: another one runs, or the folder cannot be written.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self._folder / "supervisor.lock").open("a+b")
            if not try_lock(self._lock):
                self._refuse()
            self.ready_file.unlink(missing_ok=True)
        except OSError as error:
            raise StackError(
                f"The data folder {self._folder.parent} cannot be written ({error.strerror}): "
                "change its permissions, or choose another with --data or SCRUB_DATA."
            ) from error

    def _refuse(self) -> None:
        assert self._lock is not None
        self._lock.close()
        raise StackError(
            f"A stack is already running on the data folder {self._folder.parent}: "
            "stop it first, or choose another folder with --data or SCRUB_DATA."
        )

    def close(self) -> None:
        self.ready_file.unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()

    def write_pid(self, name: str, pid: int) -> None:
        _replace(self._folder / f"{name}.pid", f"{pid}\n")

    def remove_pid(self, name: str) -> None:
        (self._folder / f"{name}.pid").unlink(missing_ok=True)

    def write_ready(self, ready: Ready) -> None:
        document = {"url": ready.url, "kafka": ready.kafka, "pids": dict(ready.pids)}
        _replace(self.ready_file, json.dumps(document) + "\n")

    def read_ready(self) -> Ready | None:
        """None when no stack has said that it is ready."""
        try:
            document: dict[str, Any] = json.loads(self.ready_file.read_text(encoding="utf-8"))
            return Ready(document["url"], document["kafka"], document["pids"])
        except (FileNotFoundError, NotADirectoryError, ValueError, KeyError):
            return None

    def read_ready_if_alive(self) -> Ready | None:
        """None when no stack is ready, or its supervisor has died since it said so."""
        ready = self.read_ready()
        if ready is None:
            return None
        with (self._folder / "supervisor.lock").open("a+b") as lock:
            return None if try_lock(lock, shared=True) else ready

    def end_leftovers(self, say: Callable[[str], None]) -> None:
        """Ends the processes of a supervisor that was killed, and forgets pid files whose process is gone."""
        for file in sorted(self._folder.glob("*.pid")):
            process = _process_of(file)
            if process is not None:
                say(f"Ending {file.stem} (pid {process.pid}), left behind by a supervisor that was killed.")
                _end(process)
            file.unlink(missing_ok=True)


def _process_of(file: Path) -> psutil.Process | None:
    """The process that the pid file was written for; None if it is gone, even when its pid is in use again."""
    try:
        process = psutil.Process(int(file.read_text(encoding="ascii")))
        # The pid file is younger than its process, and older than any that got the pid later.
        is_ours = process.create_time() <= file.stat().st_mtime + _CLOCK_SLACK_SECONDS
    except (ValueError, FileNotFoundError, psutil.NoSuchProcess, psutil.AccessDenied):
        return None
    return process if is_ours and process.status() != psutil.STATUS_ZOMBIE else None


def _end(process: psutil.Process) -> None:
    try:
        process.terminate()
        process.wait(_PATIENCE_SECONDS)
    except psutil.TimeoutExpired:
        process.kill()
        process.wait(_PATIENCE_SECONDS)
    except psutil.NoSuchProcess:
        return


def _replace(path: Path, text: str) -> None:
    """Writes the file so that a reader sees the old text or the new one, never half of it."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)

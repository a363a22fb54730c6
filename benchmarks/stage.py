"""A running stack with the means to upload, to command, to read the simulator's log, and to note figures."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Any

import httpx

from benchmarks.files import write_contacts
from benchmarks.phones import phone
from benchmarks.report import Cell
from benchmarks.stack import Arrival, Stack
from benchmarks.uploads import post, wait_until_finished

_DEADLINE_SECONDS = 120


@dataclass(frozen=True)
class Command:
    """When a command was sent and answered, on the clock of the log."""

    sent_ns: int
    answered_ns: int


@dataclass
class Bench:
    """The running stack, and phones that no part of the measurement has used yet."""

    running: Stack
    client: httpx.Client
    folder: Path
    rows: list[dict[str, Cell]] = field(default_factory=list)
    _fresh: Iterable[int] = field(default_factory=count)

    def fresh(self, number: int) -> list[int]:
        return list(islice(self._fresh, number))

    def post(self, indexes: Sequence[int], **options: Any) -> str:
        path = write_contacts(self.folder / f"contacts-{time.monotonic_ns()}.csv", indexes)
        return str(post(self.client, path, **options)["id"])

    def post_phones(self, phones: Iterable[str]) -> str:
        path = self.folder / f"phones-{time.monotonic_ns()}.csv"
        path.write_text("\n".join(["phone", *phones]) + "\n", encoding="utf-8")
        return str(post(self.client, path)["id"])

    def finished(self, upload_id: str) -> dict[str, Any]:
        return wait_until_finished(self.client, upload_id, deadline_seconds=_DEADLINE_SECONDS)

    def command(self, path: str, **body: Any) -> Command:
        sent = time.monotonic_ns()
        answer = self.client.post(path, json=body or None)
        if answer.is_error:
            raise RuntimeError(f"{path} was answered {answer.status_code}: {answer.text}")
        return Command(sent, time.monotonic_ns())

    def calls(self, indexes: Iterable[int]) -> list[Arrival]:
        """The calls for these phones so far."""
        phones = {phone(index) for index in indexes}
        return [arrival for arrival in self.running.arrivals() if arrival.phone in phones]

    def wait(self, reached: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while not reached():
            if time.monotonic() > deadline:
                raise TimeoutError(f"it never came to this: {what}")
            time.sleep(0.1)

    def note(self, what: str, measured: Cell, unit: str, aim: str = "") -> None:
        self.rows.append({"what": what, "measured": measured, "unit": unit, "aim": aim})
        print(f"{what}: {measured} {unit}", flush=True)

    def note_effect(self, what: str, command: Command, at_ns: int) -> None:
        """How long after a command something was to be seen in the log."""
        self.note(f"{what}, after the command was sent", (at_ns - command.sent_ns) / 1e9, "s", "<= 1")
        self.note(f"{what}, after its answer", (at_ns - command.answered_ns) / 1e9, "s", "<= 1")

    def simulator_port(self) -> str:
        said = (self.running.simulator_log.parent / "simulator.out").read_text(encoding="utf-8")
        return said.partition("127.0.0.1:")[2].partition("/")[0]

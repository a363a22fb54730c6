"""(g) Kills: SIGKILL of each part in the middle of a run, and of the active gate beside up to three standbys."""

import csv
import io
import os
import signal
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import httpx

from benchmarks.figures import worst_window
from benchmarks.files import write_contacts
from benchmarks.phones import phone
from benchmarks.report import Cell, Figures
from benchmarks.stack import Arrival, Stack, stack
from benchmarks.uploads import post

_PARTS = ("worker-1", "join-1", "feeder-1", "web-1", "kafka-1")
_MOST_GATES = 4
_PHONES, _REPEATS, _KILL_AFTER = 80, 3, 20
_DEADLINE_SECONDS = 180


def run(folder: Path) -> Figures:
    """One stack for the parts, which are killed one after the other; one for each number of gates."""
    rows = []
    with stack(_made(folder / "parts")) as running:
        rows += [_measure(running, part, number, _kill(part)) for number, part in enumerate(_PARTS)]
    for gates in range(1, _MOST_GATES + 1):
        with stack(_made(folder / f"gates-{gates}"), scale=f"worker=1,gate={gates}") as running:
            words = f"the active one of {gates} gates"
            rows.append(_measure(running, f"{words}, SIGKILL", 0, _kill_active_gate))
            if gates > 1:
                rows.append(_measure(running, f"{words}, SIGTERM", 1, _end_active_gate))
    return Figures(
        "kills",
        f"{_PHONES} phones in {_PHONES * _REPEATS} rows, one part ended after {_KILL_AFTER} calls",
        rows,
        {"rows lost": "0", "rows doubled": "0", "worst second": "<= 10"},
    )


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _measure(running: Stack, what: str, number: int, end_part: Callable[[Stack], None]) -> dict[str, Cell]:
    indexes = [number * _PHONES + row % _PHONES for row in range(_PHONES * _REPEATS)]
    contacts = write_contacts(running.data / f"contacts-{number}.csv", indexes)
    wanted = {phone(index) for index in indexes}
    with running.client() as client:
        upload_id = post(client, contacts)["id"]
        _wait(lambda: len(_arrivals(running, wanted)) >= _KILL_AFTER, "the calls to begin")
        ended_ns = time.monotonic_ns()
        end_part(running)
        _wait(lambda: _is_finished(client, upload_id), "the upload to be finished")
        lost, doubled = _lost_and_doubled(contacts, _download(client, upload_id))
    arrivals = _arrivals(running, wanted)
    return {
        "ended": what,
        "rows lost": lost,
        "rows doubled": doubled,
        "calls": len(arrivals),
        "calls repeated": len(arrivals) - len({arrival.phone for arrival in arrivals}),
        "worst second": worst_window([arrival.t_ns for arrival in arrivals]),
        "longest time without a call, s": _longest_gap(arrivals, since_ns=ended_ns),
    }


def _kill(part: str) -> Callable[[Stack], None]:
    return lambda running: os.kill(running.current_pids()[part], signal.SIGKILL)


def _kill_active_gate(running: Stack) -> None:
    os.kill(running.current_pids()[f"gate-{_active_gate(running)}"], signal.SIGKILL)


def _end_active_gate(running: Stack) -> None:
    os.kill(running.current_pids()[f"gate-{_active_gate(running)}"], signal.SIGTERM)


def _active_gate(running: Stack) -> str:
    with running.client() as client:
        parts = client.get("/v1/queue").raise_for_status().json()["parts"]
    (active,) = (part["instance"] for part in parts if part["role"] == "gate" and part["active"])
    return str(active)


def _arrivals(running: Stack, wanted: set[str]) -> list[Arrival]:
    return [arrival for arrival in running.arrivals() if arrival.phone in wanted]


def _longest_gap(arrivals: Sequence[Arrival], *, since_ns: int) -> float:
    """Between two calls of which the later one came after that moment."""
    return max((b.t_ns - a.t_ns) / 1e9 for a, b in pairwise(arrivals) if b.t_ns > since_ns)


def _is_finished(client: httpx.Client, upload_id: str) -> bool:
    try:
        response = client.get(f"/v1/uploads/{upload_id}", params={"wait": 5})
    except httpx.TransportError:
        return False
    return response.status_code == httpx.codes.OK and response.json()["state"] == "completed"


def _download(client: httpx.Client, upload_id: str) -> str:
    return client.get(f"/v1/uploads/{upload_id}/result.csv").raise_for_status().text


def _lost_and_doubled(contacts: Path, result: str) -> tuple[int, int]:
    """Rows by their `id`; one without an answer is lost too."""
    given = [row["id"] for row in csv.DictReader(io.StringIO(contacts.read_text(encoding="utf-8")))]
    got = [row["id"] for row in csv.DictReader(io.StringIO(result)) if row["scrub_status"] == "answered"]
    return len(set(given) - set(got)), len(got) - len(set(got))


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {_DEADLINE_SECONDS} s in vain for {what}")
        time.sleep(0.05)

"""(b) Known rows, and (d) the cost of a row as files grow: how fast rows pass that need no call."""

import asyncio
from pathlib import Path

from benchmarks.files import spread, write_contacts
from benchmarks.known import publish_results, wait_until_read
from benchmarks.phones import phone
from benchmarks.report import Cell, Figures
from benchmarks.stack import Stack, Usage, stack
from benchmarks.uploads import scrub
from schemas.topics import LOOKUP_RESULTS

_DEADLINE_SECONDS = 1_800


def run(folder: Path, *, rows: int = 1_000_000, distinct: int = 200_000) -> Figures:
    """One big file over phones that are all known."""
    folder.mkdir(parents=True)
    contacts = write_contacts(folder / "contacts.csv", spread(rows, distinct))
    with stack(folder) as running:
        make_known(running, distinct)
        figures = _scrub_known(running, contacts, rows)
        calls = len(running.arrivals())
    per_role: list[dict[str, Cell]] = [
        {
            "role": role,
            "rows": rows,
            "rows/s": None,
            "cpu s": usage.cpu_seconds,
            "peak MiB": usage.peak_mib,
            "calls": None,
        }
        for role, usage in sorted(running.usage.items())
    ]
    total = figures | {
        "role": "all",
        "peak MiB": sum(usage.peak_mib for usage in running.usage.values()),
        "calls": calls,
    }
    columns = ("role", "rows", "rows/s", "cpu s", "peak MiB", "calls")
    return Figures(
        "known-rows",
        f"{rows:,} rows over {distinct:,} known phones, from POST to completion",
        [{column: total[column] for column in columns}, *per_role],
        {"rows/s": ">= 10,000", "peak MiB": "<= 200 a role", "calls": "0"},
    )


def cost(folder: Path, *, sizes: tuple[int, ...] = (10_000, 100_000, 1_000_000)) -> Figures:
    """The same with files of growing size, each on a fresh stack."""
    measured: list[dict[str, Cell]] = []
    for rows in sizes:
        here = folder / str(rows)
        here.mkdir(parents=True)
        contacts = write_contacts(here / "contacts.csv", spread(rows, rows // 5))
        with stack(here) as running:
            make_known(running, rows // 5)
            measured.append(_scrub_known(running, contacts, rows))
    base = measured[0]["cpu us/row"]
    assert isinstance(base, float)
    lines = [row | {"ratio to smallest": float(row["cpu us/row"] or 0) / base} for row in measured]
    return Figures("cost-per-row", "CPU of all roles for one known row", lines, {"ratio to smallest": "<= 1.2"})


def make_known(running: Stack, distinct: int) -> None:
    """Puts an answer for each of the first phones where everybody knows it."""
    asyncio.run(publish_results(running.kafka, (phone(index) for index in range(distinct))))
    asyncio.run(wait_until_read(running.kafka, LOOKUP_RESULTS.name, deadline_seconds=_DEADLINE_SECONDS))


def _scrub_known(running: Stack, contacts: Path, rows: int) -> dict[str, Cell]:
    running.look()
    before = {role: usage.cpu_seconds for role, usage in running.usage.items()}
    with running.client() as client:
        seconds, upload = scrub(client, contacts, deadline_seconds=_DEADLINE_SECONDS)
    running.look()
    if upload["counts"]["answered"] != rows:
        raise RuntimeError(f"{upload['counts']['answered']} of {rows} rows were answered: the figures mean nothing")
    for role, usage in running.usage.items():
        running.usage[role] = Usage(usage.cpu_seconds - before.get(role, 0.0), usage.peak_mib)
    cpu = sum(usage.cpu_seconds for usage in running.usage.values())
    return {"rows": rows, "seconds": seconds, "rows/s": rows / seconds, "cpu s": cpu, "cpu us/row": cpu / rows * 1e6}

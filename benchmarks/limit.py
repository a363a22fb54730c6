"""(a) The limit: how close to ten calls a second the gate comes, and that it never passes them."""

from pathlib import Path

from benchmarks.figures import tightest_seconds, use_of_limit, worst_window
from benchmarks.files import write_contacts
from benchmarks.report import Cell, Figures
from benchmarks.stack import stack
from benchmarks.uploads import scrub

RATE = 10


def run(folder: Path, *, phones: int = 3_000, latencies_ms: tuple[int, ...] = (50, 300)) -> Figures:
    rows = [_measure(folder / f"latency-{latency}", phones, latency) for latency in latencies_ms]
    return Figures(
        "limit",
        f"{phones} distinct phones, {RATE} calls a second",
        rows,
        {"worst second": "<= 10", "use of limit": ">= 0.99"},
    )


def _measure(folder: Path, phones: int, latency_ms: int) -> dict[str, Cell]:
    folder.mkdir(parents=True)
    contacts = write_contacts(folder / "contacts.csv", range(phones))
    with stack(folder, latency_ms=latency_ms) as running, running.client() as client:
        seconds, upload = scrub(client, contacts, deadline_seconds=phones / RATE * 2 + 60)
        times = [arrival.t_ns for arrival in running.arrivals()]
    return {
        "latency ms": latency_ms,
        "calls": len(times),
        "refused (429)": sum(arrival.status == 429 for arrival in running.arrivals()),
        "worst second": worst_window(times),
        "tightest 11 calls, s": tightest_seconds(times, count=RATE + 1),
        "use of limit": use_of_limit(times, rate=RATE),
        "makespan, s": seconds,
        "makespan / ((N-1)/10 s)": seconds / ((phones - 1) / RATE),
        "answered": upload["counts"]["answered"],
    }

"""(a) The limit: how close to it the gate comes, and that it never passes it; ten calls a second, and other limits."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import tightest_seconds, use_of_limit, worst_window
from benchmarks.files import write_contacts
from benchmarks.report import Cell, Figures
from benchmarks.stack import stack
from benchmarks.uploads import scrub

RATE = 10


@dataclass(frozen=True, slots=True)
class OtherLimit:
    """`rate` calls in any window of so many seconds; `strict`: a call counts until its reply is there."""

    rate: int
    window_seconds: float
    strict: bool
    phones: int


_LATENCY_MS = 50
OTHER_LIMITS = (
    OtherLimit(1, 2.0, False, 15),
    OtherLimit(250, 1.0, False, 7_500),
    OtherLimit(10, 1.0, True, 300),
)


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


def other(folder: Path, *, limits: tuple[OtherLimit, ...] = OTHER_LIMITS) -> Figures:
    """One stack after the other, each told another limit."""
    rows = [_measure_other(folder / str(number), limit) for number, limit in enumerate(limits)]
    return Figures("other-limits", "other limits, API latency 50 ms", rows, {"worst window": "<= limit"})


def _measure_other(folder: Path, limit: OtherLimit) -> dict[str, Cell]:
    folder.mkdir(parents=True)
    contacts = write_contacts(folder / "contacts.csv", range(limit.phones))
    env = {
        "SCRUB_RATE": str(limit.rate),
        "SCRUB_WINDOW_SECONDS": str(limit.window_seconds),
        "SCRUB_STRICT_WINDOW": str(limit.strict).lower(),
    }
    started = stack(folder, latency_ms=_LATENCY_MS, limit=limit.rate, window_seconds=limit.window_seconds, env=env)
    per_second = limit.rate / limit.window_seconds
    with started as running, running.client() as client:
        _, upload = scrub(client, contacts, deadline_seconds=limit.phones / per_second * 4 + 60)
        arrivals = running.arrivals()
        gate_cpu_seconds = running.usage["gate"].cpu_seconds
    times = [arrival.t_ns for arrival in arrivals]
    return {
        "limit": f"{limit.rate} in {limit.window_seconds:g} s" + (", strict" if limit.strict else ""),
        "calls": len(times),
        "refused (429)": sum(arrival.status == 429 for arrival in arrivals),
        "worst window": worst_window(times, window_ns=round(limit.window_seconds * 1e9)),
        "use of limit": use_of_limit(times, rate=limit.rate) * limit.window_seconds,
        "gate cpu ms/call": gate_cpu_seconds * 1e3 / len(times),
        "answered": upload["counts"]["answered"],
    }

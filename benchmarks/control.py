"""(f) The queue under people's hands: fairness, commands, one call per phone, a 429, ETA and redrive, from outside.

Everything is read from the simulator's log (the kernel's arrival stamps) and the HTTP API, on one running stack.
"""

import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import httpx

from benchmarks import eta
from benchmarks.failing import Failing
from benchmarks.phones import phone
from benchmarks.report import Figures
from benchmarks.stack import stack
from benchmarks.stage import Bench, Command

RATE = 10
_SECOND_NS = 1_000_000_000
_LARGE_ROWS = 100_000
_SMALL_ROWS, _TRIES = 20, 3
_SETTLE_SECONDS = 4.0
"""How long the log is watched after a command."""


def run(folder: Path) -> Figures:
    """All parts one after the other, on one stack."""
    folder.mkdir(parents=True)
    with stack(folder) as running, running.client() as client:
        bench = Bench(running, client, folder)
        _eta_alone(bench)
        _eta_across_a_pause(bench)
        _eta_beside_others(bench)
        _one_call_per_phone(bench)
        _beside_a_large_one(bench)
    return Figures("control", "the queue under people's hands, seen from outside", bench.rows, {})


# -- ETA


def _eta_alone(bench: Bench) -> None:
    upload_id = bench.post(bench.fresh(300))
    with bench.running.client() as looking, eta.sampling(looking, upload_id) as sampler:
        upload = bench.finished(upload_id)
    _note_eta(bench, "alone", [eta.errors(sampler.samples[upload_id], upload)])


def _eta_across_a_pause(bench: Bench) -> None:
    indexes = bench.fresh(300)
    upload_id = bench.post(indexes)
    with bench.running.client() as looking, eta.sampling(looking, upload_id) as sampler:
        bench.wait(lambda: len(bench.calls(indexes)) >= 90, "90 calls")
        pause = bench.command(f"/v1/uploads/{upload_id}/pause")
        paused_at = eta.now()
        time.sleep(_SETTLE_SECONDS + 4)
        last = max(arrival.t_ns for arrival in bench.calls(indexes))
        resume = bench.command(f"/v1/uploads/{upload_id}/resume")
        resumed_at = eta.now()
        upload = bench.finished(upload_id)
    first = min(arrival.t_ns for arrival in bench.calls(indexes) if arrival.t_ns > resume.sent_ns)
    bench.note_effect("pause: last call of the upload", pause, last)
    bench.note_effect("resume: first call of the upload", resume, first)
    meanwhile = [one for one in sampler.samples[upload_id] if paused_at < one.at < resumed_at]
    honest = sum(one.why == "paused" and one.middle is None for one in meanwhile)
    bench.note("while paused: samples with why=paused and no ETA", f"{honest} of {len(meanwhile)}", "samples", "all")
    _note_eta(bench, "after a pause", [eta.errors(sampler.samples[upload_id], upload, since=resumed_at)])


def _eta_beside_others(bench: Bench) -> None:
    ids = [bench.post(bench.fresh(rows)) for rows in (60, 80, 100, 160)]
    with bench.running.client() as looking, eta.sampling(looking, *ids) as sampler:
        uploads = [bench.finished(upload_id) for upload_id in ids]
    _note_eta(bench, "beside 3 others", [eta.errors(sampler.samples[one["id"]], one) for one in uploads])
    explained = [one for samples in sampler.samples.values() for one in samples if one.state == "in_progress"]
    said = sum(one.why is not None for one in explained)
    bench.note("beside 3 others: samples with a why", f"{said} of {len(explained)}", "samples")


def _note_eta(bench: Bench, where: str, found: Sequence[eta.Errors]) -> None:
    worst = max(errors.of_whole for errors in found)
    bench.note(f"ETA {where}: worst error of the middle, of the upload's time", 100 * worst, "%", "<= 10")
    worst = max(errors.of_left for errors in found)
    bench.note(f"ETA {where}: the same, of the time left (while >= 5 s)", 100 * worst, "%", "<= 10")
    without, samples = sum(one.without_eta for one in found), sum(one.samples for one in found)
    bench.note(f"ETA {where}: samples without one", f"{without} of {samples}", "samples", "0")


# -- One call per phone


def _one_call_per_phone(bench: Bench) -> None:
    """Two uploads at once share a third of their phones, and name each of them three times."""
    shared, one, other = bench.fresh(20), bench.fresh(20), bench.fresh(20)
    first, second = bench.post((shared + one) * 3), bench.post((other + shared) * 3)
    uploads = [bench.finished(first), bench.finished(second)]
    distinct = shared + one + other
    bench.note("two uploads that share phones, each phone in 3 rows: distinct phones", len(distinct), "phones")
    bench.note("the same: calls in the log", len(bench.calls(distinct)), "calls", f"= {len(distinct)}")
    counted = sum(upload["counts"]["calls"] for upload in uploads)
    bench.note("the same: calls by the uploads' own counts", counted, "calls", f"= {len(distinct)}")
    bench.finished(bench.post(shared))
    bench.note("their phones once more: calls", len(bench.calls(shared)) - len(shared), "calls", "0")
    bench.finished(bench.post(shared, max_age_seconds=0))
    bench.note("once more with max_age_seconds=0: calls", len(bench.calls(shared)) - len(shared), "calls", "20")


# -- Beside a large upload


def _beside_a_large_one(bench: Bench) -> None:
    large = bench.fresh(_LARGE_ROWS)
    large_id = bench.post(large)
    bench.wait(lambda: bench.calls(large), "a call of the large upload")
    _small_ones(bench, active=2)
    failing = Failing(bench)
    _priority(bench, large)
    failing.redrive()
    _pause_all(bench)
    _throttled(bench)
    _cancel(bench, large_id, large)


def _small_ones(bench: Bench, *, active: int) -> None:
    seconds = []
    for _ in range(_TRIES):
        started = time.monotonic()
        bench.finished(bench.post(bench.fresh(_SMALL_ROWS)))
        seconds.append(time.monotonic() - started)
    bound = _SMALL_ROWS * active / RATE + 2
    bench.note(f"20 unknown rows beside {_LARGE_ROWS:,}: worst of {_TRIES}", max(seconds), "s", f"<= {bound:g}")
    bench.note(f"20 unknown rows beside {_LARGE_ROWS:,}: best of {_TRIES}", min(seconds), "s", f"<= {bound:g}")


def _pause_all(bench: Bench) -> None:
    pause = bench.command("/v1/queue/pause")
    time.sleep(_SETTLE_SECONDS)
    last = bench.running.arrivals()[-1].t_ns
    resume = bench.command("/v1/queue/resume")
    bench.wait(lambda: bench.running.arrivals()[-1].t_ns > resume.sent_ns, "a call after the resume")
    first = min(one.t_ns for one in bench.running.arrivals() if one.t_ns > resume.sent_ns)
    bench.note_effect("pause of all calls: last call", pause, last)
    bench.note_effect("resume of all calls: first call", resume, first)


def _priority(bench: Bench, large: Sequence[int]) -> None:
    """Alike, two uploads take turns; with priority 1 to 3 the one gets four calls in a row."""
    indexes = bench.fresh(400)
    upload_id = bench.post(indexes)
    bench.wait(lambda: len(bench.calls(indexes)) >= 20, "20 calls")
    sent = time.monotonic_ns()
    bench.client.patch(f"/v1/uploads/{upload_id}", json={"priority": 1}).raise_for_status()
    command = Command(sent, time.monotonic_ns())
    time.sleep(_SETTLE_SECONDS)
    favoured = {phone(index) for index in indexes}
    turns = bench.calls([*indexes, *large])
    pairs = [(a, b) for a, b in pairwise(turns) if a.phone in favoured and b.phone in favoured]
    first = min(b.t_ns for _, b in pairs if b.t_ns > command.sent_ns)
    bench.note_effect("priority 3 to 1: first two calls in a row", command, first)
    after = [one for one in turns if one.t_ns > first]
    share = sum(one.phone in favoured for one in after) / len(after)
    bench.note("priority 1 beside 3: share of the calls", 100 * share, "%", "80")
    bench.command(f"/v1/uploads/{upload_id}/cancel")


def _throttled(bench: Bench) -> None:
    """Somebody else uses the account, with calls that are not ours, until the API refuses one of ours."""
    time.sleep(3)
    url = f"http://127.0.0.1:{bench.simulator_port()}/lookup"
    stranger = "+12005550100"

    def refused() -> list[int]:
        return [one.t_ns for one in bench.running.arrivals() if one.status == 429 and one.phone != stranger]

    before = len(refused())
    with httpx.Client() as client:
        bench.wait(lambda: client.get(url, params={"phone": stranger}) and len(refused()) > before, "a refused call")
    time.sleep(20)
    begins = refused()[before]
    ours = [one for one in bench.running.arrivals() if one.phone != stranger]
    per_second = [
        sum(begins + second * _SECOND_NS <= one.t_ns < begins + (second + 1) * _SECOND_NS for one in ours)
        for second in range(-3, 18)
    ]
    bench.note("429: calls of ours that were refused", len(refused()) - before, "calls")
    bench.note("429: calls a second in the 3 s before", sum(per_second[:3]) / 3, "calls/s", "10")
    bench.note("429: in the seconds from the first refusal on", " ".join(map(str, per_second[3:17])), "calls/s")
    recovered = next(second for second, calls in enumerate(per_second[4:], 1) if calls >= RATE - 1)
    bench.note("429: back at 9 calls a second after", recovered, "s")
    bench.note("429: calls a second in the last 5 s", sum(per_second[-5:]) / 5, "calls/s", "10")


def _cancel(bench: Bench, large_id: str, large: Sequence[int]) -> None:
    """The large upload goes while another one goes on: whose calls must not be held up."""
    other = bench.fresh(150)
    other_id = bench.post(other)
    bench.wait(lambda: len(bench.calls(other)) >= 10, "10 calls")
    cancel = bench.command(f"/v1/uploads/{large_id}/cancel")
    time.sleep(_SETTLE_SECONDS * 2)
    last = max(arrival.t_ns for arrival in bench.calls(large))
    bench.note_effect(f"cancel of {_LARGE_ROWS:,} rows: last call of the upload", cancel, last)
    times = [arrival.t_ns for arrival in bench.calls(other) if arrival.t_ns > max(last, cancel.sent_ns)]
    gap = max(b - a for a, b in pairwise(times)) / 1e9
    bench.note("cancel: longest time between two calls of the other upload after it", gap, "s")
    pace = (len(times) - 1) / ((times[-1] - times[0]) / 1e9)
    bench.note("cancel: pace of the other upload after it", pace, "calls/s", "10")
    bench.finished(other_id)
    upload = bench.finished(large_id)
    counts = upload["counts"]
    bench.note("cancelled upload: rows it keeps + unprocessed", counts["answered"] + counts["unprocessed"], "rows")

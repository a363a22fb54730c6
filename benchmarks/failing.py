"""Phones that are given up, and what it costs to ask for some of them again."""

from benchmarks.stage import Bench


class Failing:
    """Phones that are given up: ten that would answer the seventh call, two that never do. Beside others, or else the
    provider would seem to be down."""

    timely = tuple(f"+194155501{tens}6" for tens in range(10))
    hopeless = ("+19385550100", "+19385550102")

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._upload_id = bench.post_phones([*self.timely, *self.hopeless])

    def _calls(self) -> int:
        return sum(arrival.phone in {*self.timely, *self.hopeless} for arrival in self._bench.running.arrivals())

    def redrive(self) -> None:
        """Waits until they are given up; then compares what a redrive says with what it costs."""
        bench = self._bench
        upload = bench.finished(self._upload_id)
        before = self._calls()
        bench.note("12 phones that fail: calls until they are given up", before, "calls", "72")
        bench.note("the same by the upload's own count", upload["counts"]["calls"], "calls", "72")
        wanted = {"upload_id": self._upload_id, "error_code": "http_500"}
        dry = bench.client.post("/v1/dead-letters/redrive", json=wanted | {"dry_run": True}).json()
        bench.note("redrive by error code, dry run: rows / calls", f"{dry['rows']} / {dry['calls']}", "", "10 / 10")
        bench.command("/v1/dead-letters/redrive", **wanted)
        path = f"/v1/uploads/{self._upload_id}"
        bench.wait(lambda: bench.client.get(path).json()["round"] == 1, "a second round")
        failed = bench.finished(self._upload_id)["counts"]["failed"]
        bench.note("the real redrive: calls in the log", self._calls() - before, "calls", str(dry["calls"]))
        bench.note("the real redrive: rows left as they were, failed for another reason", failed, "rows", "2")

"""The metrics for monitoring, in Prometheus' format: counts only, without phones, upload ids or owners."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from schemas.lookups import GateState
from services.assembler.domain.stored import QueueTotals
from services.assembler.status.backend import Backend
from services.assembler.status.liveness import condition_of, is_alive
from services.assembler.status.queue_view import gate_state
from services.assembler.store import reads

_GATE_STATES: Final[tuple[GateState, ...]] = (
    "running",
    "paused",
    "account_problem",
    "provider_down",
    "throttled",
    "no_gate",
)


class _Now(Collector):
    """One scrape: the totals of SQL and the last statuses of the parts."""

    def __init__(self, totals: QueueTotals, backend: Backend, now: datetime) -> None:
        self._totals = totals
        self._system = backend.hub.system_status()
        self._watchers = backend.hub.watcher_count
        self._bad_records = backend.bad_records
        self._now = now

    def collect(self) -> Iterator[Metric]:
        yield from self._of_uploads()
        yield from self._of_gate()
        yield from self._of_parts()
        yield from self._of_bad_records()

    def _of_uploads(self) -> Iterable[Metric]:
        uploads = GaugeMetricFamily("scrub_uploads", "Uploads by state", labels=["state"])
        for state, count in sorted(self._totals.uploads_by_state.items()):
            uploads.add_metric([state], count)
        yield uploads
        yield CounterMetricFamily("scrub_lookups_answered", "Lookups with data", value=self._totals.answered)
        yield CounterMetricFamily("scrub_lookups_failed", "Lookups given up", value=self._totals.failed)
        yield CounterMetricFamily("scrub_lookup_retries", "Calls repeated", value=self._totals.retries)
        yield GaugeMetricFamily("scrub_dead_letters", "Phones given up and not asked again", self._totals.dead_letters)
        yield GaugeMetricFamily("scrub_watchers", "Open sockets and long polls", self._watchers)

    def _of_gate(self) -> Iterable[Metric]:
        states = GaugeMetricFamily("scrub_gate_state", "1 for the gate's present state", labels=["state"])
        present = gate_state(self._system, self._now)
        for state in _GATE_STATES:
            states.add_metric([state], state == present)
        yield states
        lookup = self._system.lookup
        if lookup is None:
            return
        yield GaugeMetricFamily("scrub_lookups_pending", "Phones waiting for their call", lookup.pending)
        yield GaugeMetricFamily("scrub_lookups_in_flight", "Calls under way", lookup.in_flight)
        yield GaugeMetricFamily("scrub_lookups_in_backoff", "Phones waiting for a retry", lookup.in_backoff)
        yield GaugeMetricFamily("scrub_calls_last_minute", "Calls in the last minute", lookup.calls_last_minute)
        yield GaugeMetricFamily("scrub_pace_per_second", "Calls a second that are allowed now", lookup.pace_per_second)
        if lookup.oldest_wanted_at is not None:
            waited = max(0.0, (self._now - lookup.oldest_wanted_at).total_seconds())
            yield GaugeMetricFamily("scrub_oldest_wait_seconds", "How long the oldest phone has waited", waited)

    def _of_parts(self) -> Iterable[Metric]:
        alive = GaugeMetricFamily("scrub_parts_alive", "Processes that told that they live", labels=["role"])
        restarting = GaugeMetricFamily("scrub_parts_restarting", "Processes started too often", labels=["role"])
        living, failing = Counter[str](), Counter[str]()
        for part in self._system.parts:
            living[part.role] += is_alive(part, self._now)
            failing[part.role] += condition_of(part, self._now) == "restarting"
        for role in sorted(living):
            alive.add_metric([role], living[role])
            restarting.add_metric([role], failing[role])
        yield alive
        yield restarting

    def _of_bad_records(self) -> Iterable[Metric]:
        listed = GaugeMetricFamily(
            "scrub_bad_records", "Records put aside and not tried again", labels=["role", "reason"]
        )
        for (role, reason), count in sorted(self._bad_records.listed.counts().items()):
            listed.add_metric([role, reason], count)
        yield listed
        yield GaugeMetricFamily("scrub_bad_records_older", "Notes of bad records not listed", self._bad_records.older)


async def metrics(request: Request) -> Response:
    backend: Backend = request.state.backend
    totals = await backend.database.read(reads.queue_totals)
    registry = CollectorRegistry()
    registry.register(_Now(totals, backend, datetime.now(UTC)))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


ROUTES = [Route("/metrics", metrics, methods=["GET"])]

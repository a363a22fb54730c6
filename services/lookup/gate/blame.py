"""Decides whom a failed call is held against: its phone, or the provider; then earlier attempts are forgiven. Pure."""

from datetime import datetime

from services.lookup.gate.fold import Fold
from services.lookup.gate.lanes import Entry
from services.lookup.gate.provider_health import Health
from services.lookup.gate.retries import History
from services.lookup.providers.protocol import AccountProblem, Wait


class Blame:
    """Tells the provider's health of failures, and reads from it what they mean for phones."""

    def __init__(self, health: Health, fold: Fold) -> None:
        self._health = health
        self._fold = fold

    def counts(self, entry: Entry, reply: Wait | AccountProblem, now: datetime, *, written: bool, probe: bool) -> bool:
        """Whether the failed attempt counts against its phone. `written`: it can have reached the provider."""
        if isinstance(reply, AccountProblem) and self._health.refused_account(
            entry.phone, now, probe=probe, error=reply.detail
        ):
            return False
        asking = frozenset(lane.upload_id for lane in entry.lanes()) if written else frozenset[str]()
        return self._health.failed(entry.phone, asking, now, probe=probe, error=reply.detail, backlog=self._fold.queue)

    def forgiven(self, phone: str, current: History) -> dict[str, History]:
        """The histories without the attempts for which the provider, not the phone, was to blame."""
        forgiven = {}
        for each, attempts in self._health.forgive().items():
            history = current if each == phone else self._fold.histories.get(each)
            if history is not None:
                forgiven[each] = history.forgiven(attempts)
        return forgiven

    def patience_seconds(self, now: datetime) -> float:
        """How long a phone that failed has to wait at least."""
        probe_at = self._health.probe_at
        if self._health.standing == "account_problem" and probe_at is not None:
            # If there is another phone, that one is the next probe: it tells whether this one was to blame.
            return (probe_at - now).total_seconds() + 1
        return self._health.longest_patience_seconds if self._health.standing == "up" else 0.0

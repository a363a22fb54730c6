"""Decides whether a failed call counts against its phone or against the provider. Pure."""

from datetime import datetime

from services.lookup.gate.fold import Fold
from services.lookup.gate.lanes import Entry
from services.lookup.gate.provider_health import ProviderHealth
from services.lookup.gate.retries import History
from services.lookup.providers.protocol import AccountProblem, Wait


class FailureAttribution:
    """Reports failures to the provider's health, and derives from it which attempts of a phone count."""

    def __init__(self, health: ProviderHealth, fold: Fold) -> None:
        self._health = health
        self._fold = fold

    def counts(self, entry: Entry, reply: Wait | AccountProblem, now: datetime, *, written: bool, probe: bool) -> bool:
        """Whether the failed attempt counts against its phone.

        `written`: the request may have reached the provider.
        """
        if isinstance(reply, AccountProblem) and self._health.refused_account(
            entry.phone, now, probe=probe, error=reply.detail
        ):
            return False
        asking = frozenset(lane.upload_id for lane in entry.lanes()) if written else frozenset[str]()
        return self._health.failed(entry.phone, asking, now, probe=probe, error=reply.detail, backlog=self._fold.queue)

    def forgiven(self, phone: str, current: History) -> dict[str, History]:
        """The changed histories of phones whose attempts turned out not to count. `current` is that of `phone`."""
        forgiven = {}
        for each, attempts in self._health.forgive().items():
            history = current if each == phone else self._fold.histories.get(each)
            if history is not None:
                forgiven[each] = history.forgiven(attempts)
        return forgiven

    def at_least_seconds(self, now: datetime) -> float:
        """The shortest time that a phone has to wait after a failure."""
        probe_at = self._health.probe_at
        if self._health.state == "account_problem" and probe_at is not None:
            # The next probe should be another phone, if there is one: it shows whether this phone was the cause.
            return (probe_at - now).total_seconds() + 1
        return self._health.longest_patience_seconds if self._health.state == "up" else 0.0

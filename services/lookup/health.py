"""Decides whether the provider can be called at all: up, down, or refusing our account. Pure."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

PROBE_SECONDS = 60.0
FAILURES_IN_A_ROW = 20
PHONES_AT_LEAST = 5

Standing = Literal["up", "account_problem", "provider_down"]


@dataclass(slots=True)
class Health:
    """What the last replies say of the provider. While it is not up, one call a minute is made to find out.

    Down: 20 *wait* failures in a row over at least 5 phones, so that some bad phones cannot stop the rest.
    Only a probe's answer ends a pause: calls that were on their way when it began say nothing of what came after.
    """

    standing: Standing = "up"
    probe_at: datetime | None = None
    is_probing: bool = False
    error: str | None = None
    _streak: list[str] = field(default_factory=list)
    _accused: Counter[str] = field(default_factory=Counter)
    _exonerated: set[str] = field(default_factory=set)
    _throttled: set[str] = field(default_factory=set)

    def may_call(self, now: datetime) -> bool:
        """Whether a call may begin; while not up it is a probe, and the only one."""
        if self.standing == "up":
            return True
        return not self.is_probing and self.probe_at is not None and now >= self.probe_at

    def call_begins(self) -> bool:
        """Says whether the call is a probe."""
        if self.standing == "up":
            return False
        self.is_probing = True
        return True

    def not_called(self, *, probe: bool) -> None:
        """The call was withdrawn before it was written."""
        if probe:
            self.is_probing = False

    def answered(self, phone: str, *, probe: bool) -> None:
        """The provider said something of the phone, so it works."""
        self._streak.clear()
        self._throttled.clear()
        if probe or self.standing == "up":
            # The account serves other phones: what it refused was about the phones themselves.
            self._exonerated.update(accused for accused in self._accused if accused != phone)
            self._accused.clear()
            self.standing, self.probe_at, self.is_probing, self.error = "up", None, False, None

    def throttled(self, phone: str) -> bool:
        """A call was refused with "slow down". Whether it is meant for all: no other phone was answered in between."""
        self._throttled.add(phone)
        return len(self._throttled) > 1

    def refused_account(self, phone: str, now: datetime, *, probe: bool, error: str) -> bool:
        """Whether the refusal is about our account; False: about this phone only, as others were served since."""
        if phone in self._exonerated:
            return False
        self._accused[phone] += 1
        if probe or self.standing == "up":
            self._next_probe(now)
        self.standing, self.error = "account_problem", error
        return True

    def failed(self, phone: str, now: datetime, *, probe: bool, error: str) -> bool:
        """One more *wait* failure. Returns whether the attempt counts; see `forgive` when the provider goes down."""
        if self.standing != "up":
            if probe:
                self.error = error
                self._next_probe(now)
            return False
        self._streak.append(phone)
        if len(self._streak) >= FAILURES_IN_A_ROW and len(set(self._streak)) >= PHONES_AT_LEAST:
            self.standing, self.error = "provider_down", error
            self._next_probe(now)
        return True

    def forgive(self) -> Counter[str]:
        """The attempts, by phone, that turned out not to count because the provider is down. Given out once."""
        if self.standing != "provider_down":
            return Counter()
        forgiven = Counter(self._streak)
        self._streak.clear()
        return forgiven

    def _next_probe(self, now: datetime) -> None:
        self.is_probing = False
        self.probe_at = now + timedelta(seconds=PROBE_SECONDS)

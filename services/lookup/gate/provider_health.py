"""Decides whether the provider can be called at all: up, down, or refusing our account. Pure."""

from collections import Counter
from collections.abc import Collection, Container
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, Protocol

PROBE_SECONDS = 60.0
FAILURES_IN_A_ROW = 20
PHONES_AT_LEAST = 5
MOST_SUSPECTS = 100
"""More different phones than this, all of one upload, are not bad by themselves: their provider is down."""
_MOST_REMEMBERED = 10_000

Standing = Literal["up", "account_problem", "provider_down"]


class Backlog(Protocol):
    """What health has to know of the phones that may be called now."""

    def has_other(self, upload_ids: Container[str]) -> bool:
        """Whether one belongs to none of these uploads."""

    def has_untried(self, phones: Container[str]) -> bool:
        """Whether one is none of these."""


@dataclass(slots=True)
class Health:
    """What the last replies say of the provider. While it is not up, one call a minute is made to find out.

    A *wait* failure says that the phone is bad or that the provider is. They are told apart by whom else there is to
    ask. 20 failures in a row over at least 5 phones make it a question; those of suspects are not among them, phones
    that have failed before while another was answered. Then

    1. if one upload awaits all that failed, and another has a phone that may be called, that one has its turn soon and
       tells: nothing is decided yet. Nor is it as long as fewer than 20 phones of that upload have failed and there is
       another one of it to ask;
    2. else, if there is a phone that has not failed: the provider is **down**. Those attempts are forgiven. One phone
       a minute is called as a probe: one that has not failed yet, from the end of its line, of an upload none of whose
       phones has, each upload in its turn. If one upload explains all failures, the first phone of another one that
       may be called is called at once;
    3. else there is nobody else to ask. If all that failed is at most 100 phones of one upload, the **phones** are bad:
       their attempts count, and so each has its dead letter in the end. Whoever else comes is called at once. If it is
       more, or of several uploads, the provider is down as in 2; but a probe with a phone that has failed before
       counts, so that this ends, too.

    While nothing but failures comes, at least 20 in a row, a phone that failed is not tried again for a minute.

    So some bad phones of one upload keep nobody else waiting. While the provider is down no attempt of anybody counts
    as long as there are phones to probe with, one a minute; after that an outage is survived for 5 minutes by a single
    small upload, and by all else for five times as many minutes as there are phones.

    Only a probe's answer ends a pause: calls that were on their way when it began say nothing of what came after.
    """

    standing: Standing = "up"
    probe_at: datetime | None = None
    is_probing: bool = False
    error: str | None = None
    _tried: dict[str, None] = field(default_factory=dict)
    _fresh: list[str] = field(default_factory=list)
    _failures: int = 0
    _common: frozenset[str] | None = None
    _counted: Counter[str] = field(default_factory=Counter)
    _is_forgiving: bool = False
    _suspects: dict[str, None] = field(default_factory=dict)
    _asked: dict[str, int] = field(default_factory=dict)
    _accused: Counter[str] = field(default_factory=Counter)
    _exonerated: set[str] = field(default_factory=set)
    _throttled: set[str] = field(default_factory=set)

    # -- before a call

    def may_call(self, now: datetime, backlog: Backlog) -> bool:
        """Whether a call may begin; while not up it is a probe, and the only one."""
        if self.standing == "up":
            return True
        if self.is_probing or self.probe_at is None:
            return False
        return now >= self.probe_at or self._has_better_witness(backlog)

    def _has_better_witness(self, backlog: Backlog) -> bool:
        return self.standing == "provider_down" and bool(self._common) and backlog.has_other(self.blamed)

    @property
    def tried(self) -> Collection[str]:
        """Phones that say less than others as a probe, those that failed last at the end."""
        return self._accused.keys() if self.standing == "account_problem" else self._tried.keys()

    @property
    def blamed(self) -> Container[str]:
        """The uploads each of which explains all failures."""
        return self._common or frozenset()

    @property
    def asked(self) -> dict[str, int]:
        """When each upload's phone was the last probe, in the order of probes."""
        return self._asked

    def call_begins(self, upload_id: str) -> bool:
        """Says whether the call is a probe."""
        if self.standing == "up":
            return False
        self.is_probing = True
        self._asked[upload_id] = 1 + max(self._asked.values(), default=0)
        return True

    def not_called(self, *, probe: bool) -> None:
        """The call was withdrawn before it was written."""
        if probe:
            self.is_probing = False

    # -- after a call

    def answered(self, phone: str, *, probe: bool) -> None:
        """The provider said something of the phone, so it works."""
        self._throttled.clear()
        if not probe and self.standing != "up":
            return
        # The account serves other phones: what it refused was about the phones themselves.
        self._exonerated.update(accused for accused in self._accused if accused != phone)
        self._accused.clear()
        # And so, perhaps, were failures. Who was innocent is answered next.
        self._suspects.update(self._tried)
        self._forget_failures()
        self.settled(phone)
        self.standing, self.probe_at, self.is_probing, self.error = "up", None, False, None

    def settled(self, phone: str) -> None:
        """The phone has its result: what it did says nothing of its next call."""
        self._tried.pop(phone, None)
        self._suspects.pop(phone, None)
        self._exonerated.discard(phone)
        while len(self._suspects) > _MOST_REMEMBERED:
            del self._suspects[next(iter(self._suspects))]

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

    def failed(
        self, phone: str, upload_ids: frozenset[str], now: datetime, *, probe: bool, error: str, backlog: Backlog
    ) -> bool:
        """One more *wait* failure of a phone that these uploads await. Returns whether the attempt counts.

        `upload_ids` empty: nobody's phone is to blame, for the request did not even reach the provider.
        See `forgive` for those that counted until the provider was found to be down.
        """
        if self.standing == "account_problem":
            if probe:
                self.error = error
                self._next_probe(now)
            return False
        was_tried = phone in self._tried
        self._note(phone, upload_ids)
        if self.standing == "up":
            self._counted[phone] += 1
            if self._is_question and self._is_down(backlog):
                self.standing, self.error, self._is_forgiving = "provider_down", error, True
                self._next_probe(now)
            return True
        if not probe:
            return False
        self.error = error
        self._next_probe(now)
        if backlog.has_untried(self._tried):
            return False
        if self._are_phones_bad:
            self.standing, self.probe_at, self.error = "up", None, None
            return False
        return was_tried

    def forgive(self) -> Counter[str]:
        """The attempts, by phone, that turned out not to count because the provider is down. Given out once."""
        if not self._is_forgiving:
            return Counter()
        self._is_forgiving = False
        forgiven, self._counted = self._counted, Counter()
        return forgiven

    @property
    def longest_patience_seconds(self) -> float:
        """How long a phone that failed has to wait at least, while nothing but failures comes."""
        is_in_doubt = self._failures >= FAILURES_IN_A_ROW and len(self._tried) >= PHONES_AT_LEAST
        return PROBE_SECONDS if is_in_doubt else 0.0

    # -- inside

    def _note(self, phone: str, upload_ids: frozenset[str]) -> None:
        self._failures += 1
        self._tried.pop(phone, None)
        self._tried[phone] = None
        self._common = upload_ids if self._common is None else self._common & upload_ids
        if phone not in self._suspects and len(self._fresh) <= _MOST_REMEMBERED:
            self._fresh.append(phone)

    @property
    def _is_question(self) -> bool:
        return len(self._fresh) >= FAILURES_IN_A_ROW and len(set(self._fresh)) >= PHONES_AT_LEAST

    def _is_down(self, backlog: Backlog) -> bool:
        if self._common and backlog.has_other(self._common):
            return False
        if self._common and backlog.has_untried(self._tried):
            return len(set(self._fresh)) >= FAILURES_IN_A_ROW
        return not self._are_phones_bad

    @property
    def _are_phones_bad(self) -> bool:
        return bool(self._common) and len(set(self._fresh)) <= MOST_SUSPECTS

    def _forget_failures(self) -> None:
        self._tried.clear()
        self._fresh.clear()
        self._asked.clear()
        self._counted.clear()
        self._failures, self._common, self._is_forgiving = 0, None, False

    def _next_probe(self, now: datetime) -> None:
        self.is_probing = False
        self.probe_at = now + timedelta(seconds=PROBE_SECONDS)

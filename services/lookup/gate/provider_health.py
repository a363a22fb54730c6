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
"""If more different phones of one upload fail, the phones are not the cause: the provider is down."""
_MOST_REMEMBERED = 10_000

ProviderState = Literal["up", "account_problem", "provider_down"]


class Backlog(Protocol):
    """The phones that may be called now."""

    def has_other(self, upload_ids: Container[str]) -> bool:
        """Whether a phone belongs to none of these uploads."""

    def has_untried(self, phones: Container[str]) -> bool:
        """Whether a phone is not one of these."""


@dataclass(slots=True)
class ProviderHealth:
    """The state of the provider, as the last replies show it. While it is not up, one call a minute is a probe.

    A *wait* failure has one of two causes: the phone is bad, or the provider is down. The cause is decided once 20
    failures in a row came from at least 5 phones. Suspects do not count among these: a suspect is a phone that failed
    before, while another phone was answered. Then

    1. if one upload wants all phones that failed, and another upload has a phone to call, nothing is decided yet: that
       phone has its turn soon and shows the cause. The same holds while fewer than 20 phones of that upload have failed
       and it has another phone to call;
    2. else, if some phone has not failed yet, the provider is **down**. The attempts are forgiven. One phone a minute
       is called as a probe. The probe has not failed yet, comes from the end of its line, and is of an upload none of
       whose phones has failed; the uploads take turns. If one upload explains all failures, the first phone of another
       upload is called at once;
    3. else no other phone can show the cause. If all that failed are at most 100 phones of one upload, the **phones**
       are bad: their attempts count, and in the end each gets its dead letter. Any other phone is called at once. If
       they are more, or of several uploads, the provider is down as in 2, except that a probe with a phone that failed
       before counts. So this case ends as well.

    While only failures come, at least 20 in a row, a phone that failed is not tried again for a minute.

    In consequence, a few bad phones of one upload delay no other upload. While the provider is down, no attempt counts
    as long as there are phones to probe with, one a minute. After that, a single small upload survives an outage of 5
    minutes, and any other backlog survives five times as many minutes as it has phones.

    Only the answer to a probe ends a pause: calls that were on their way when it began do not show the present state.
    """

    state: ProviderState = "up"
    probe_at: datetime | None = None
    is_probing: bool = False
    error: str | None = None
    _failed_phones: dict[str, None] = field(default_factory=dict)
    _fresh: list[str] = field(default_factory=list)
    _failures: int = 0
    _common_uploads: frozenset[str] | None = None
    _counted: Counter[str] = field(default_factory=Counter)
    _is_forgiving: bool = False
    _suspects: dict[str, None] = field(default_factory=dict)
    _last_probes: dict[str, int] = field(default_factory=dict)
    _accused: Counter[str] = field(default_factory=Counter)
    _exonerated: set[str] = field(default_factory=set)
    _throttled: set[str] = field(default_factory=set)

    # -- before a call

    def may_call(self, now: datetime, backlog: Backlog) -> bool:
        """Whether a call may begin. While the provider is not up, this call is the only probe."""
        if self.state == "up":
            return True
        if self.is_probing or self.probe_at is None:
            return False
        return now >= self.probe_at or self._has_better_probe(backlog)

    def _has_better_probe(self, backlog: Backlog) -> bool:
        return self.state == "provider_down" and bool(self._common_uploads) and backlog.has_other(self.common_uploads)

    @property
    def failed_phones(self) -> Collection[str]:
        """Phones that have failed, in the order of their last failures. Other phones are better probes."""
        return self._accused.keys() if self.state == "account_problem" else self._failed_phones.keys()

    @property
    def common_uploads(self) -> Container[str]:
        """The uploads that want every phone that failed: each of them may be the cause."""
        return self._common_uploads or frozenset()

    @property
    def last_probes(self) -> dict[str, int]:
        """The number of each upload's last probe. Probes are numbered in their order."""
        return self._last_probes

    def call_begins(self, upload_id: str) -> bool:
        """A call begins. Returns whether it is a probe."""
        if self.state == "up":
            return False
        self.is_probing = True
        self._last_probes[upload_id] = 1 + max(self._last_probes.values(), default=0)
        return True

    def not_called(self, *, probe: bool) -> None:
        """The call was withdrawn before it was written."""
        if probe:
            self.is_probing = False

    # -- after a call

    def answered(self, phone: str, *, probe: bool) -> None:
        """The provider answered for the phone, so it works."""
        self._throttled.clear()
        if not probe and self.state != "up":
            return
        # The account serves other phones, so the refusals were about the phones themselves.
        self._exonerated.update(accused for accused in self._accused if accused != phone)
        self._accused.clear()
        # The failures may also have been about the phones. A phone that is answered next is no suspect any more.
        self._suspects.update(self._failed_phones)
        self._forget_failures()
        self.forget(phone)
        self.state, self.probe_at, self.is_probing, self.error = "up", None, False, None

    def forget(self, phone: str) -> None:
        """The phone's attempts are over: they do not count for its next call."""
        self._failed_phones.pop(phone, None)
        self._suspects.pop(phone, None)
        self._exonerated.discard(phone)
        while len(self._suspects) > _MOST_REMEMBERED:
            del self._suspects[next(iter(self._suspects))]

    def throttled(self, phone: str) -> bool:
        """A call was throttled. Returns whether all are: another phone was throttled, and none was answered since."""
        self._throttled.add(phone)
        return len(self._throttled) > 1

    def refused_account(self, phone: str, now: datetime, *, probe: bool, error: str) -> bool:
        """The account was refused. Returns False if only this phone is: others were answered since its refusal."""
        if phone in self._exonerated:
            return False
        self._accused[phone] += 1
        if probe or self.state == "up":
            self._next_probe(now)
        self.state, self.error = "account_problem", error
        return True

    def failed(
        self, phone: str, upload_ids: frozenset[str], now: datetime, *, probe: bool, error: str, backlog: Backlog
    ) -> bool:
        """A *wait* failure of a phone that these uploads want. Returns whether the attempt counts.

        `upload_ids` empty: no phone is the cause, because the request did not reach the provider. `forgive` returns
        the attempts that counted before the provider was found to be down.
        """
        if self.state == "account_problem":
            if probe:
                self.error = error
                self._next_probe(now)
            return False
        has_failed_before = phone in self._failed_phones
        self._note(phone, upload_ids)
        if self.state == "up":
            self._counted[phone] += 1
            if self._is_question and self._is_down(backlog):
                self.state, self.error, self._is_forgiving = "provider_down", error, True
                self._next_probe(now)
            return True
        if not probe:
            return False
        self.error = error
        self._next_probe(now)
        if backlog.has_untried(self._failed_phones):
            return False
        if self._are_phones_bad:
            self.state, self.probe_at, self.error = "up", None, None
            return False
        return has_failed_before

    def forgive(self) -> Counter[str]:
        """The number of attempts by phone that do not count, because the provider is down. Returns each one once."""
        if not self._is_forgiving:
            return Counter()
        self._is_forgiving = False
        forgiven, self._counted = self._counted, Counter()
        return forgiven

    @property
    def longest_patience_seconds(self) -> float:
        """The shortest time that a phone has to wait after a failure, while only failures come."""
        is_in_doubt = self._failures >= FAILURES_IN_A_ROW and len(self._failed_phones) >= PHONES_AT_LEAST
        return PROBE_SECONDS if is_in_doubt else 0.0

    # -- inside

    def _note(self, phone: str, upload_ids: frozenset[str]) -> None:
        self._failures += 1
        self._failed_phones.pop(phone, None)
        self._failed_phones[phone] = None
        self._common_uploads = upload_ids if self._common_uploads is None else self._common_uploads & upload_ids
        if phone not in self._suspects and len(self._fresh) <= _MOST_REMEMBERED:
            self._fresh.append(phone)

    @property
    def _is_question(self) -> bool:
        return len(self._fresh) >= FAILURES_IN_A_ROW and len(set(self._fresh)) >= PHONES_AT_LEAST

    def _is_down(self, backlog: Backlog) -> bool:
        if self._common_uploads and backlog.has_other(self._common_uploads):
            return False
        if self._common_uploads and backlog.has_untried(self._failed_phones):
            return len(set(self._fresh)) >= FAILURES_IN_A_ROW
        return not self._are_phones_bad

    @property
    def _are_phones_bad(self) -> bool:
        return bool(self._common_uploads) and len(set(self._fresh)) <= MOST_SUSPECTS

    def _forget_failures(self) -> None:
        self._failed_phones.clear()
        self._fresh.clear()
        self._last_probes.clear()
        self._counted.clear()
        self._failures, self._common_uploads, self._is_forgiving = 0, None, False

    def _next_probe(self, now: datetime) -> None:
        self.is_probing = False
        self.probe_at = now + timedelta(seconds=PROBE_SECONDS)

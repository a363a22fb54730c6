"""Counts calls, retries and dead letters, and decides by them whether an upload may pay for one call more. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from schemas.lookups import LookupStatus


@dataclass(slots=True)
class Tally:
    """Counts carried on from one active gate to the next by way of the status.

    What a gate counted in its last half second is lost when it is killed. For exact figures there are the results.
    `calls_by_upload` has at its end the uploads that paid last.
    """

    retries: int = 0
    dead_letters: int = 0
    calls_by_upload: Counter[str] = field(default_factory=Counter)
    retries_by_upload: Counter[str] = field(default_factory=Counter)
    _in_progress: Counter[str] = field(default_factory=Counter)
    _unknown: set[str] = field(default_factory=set)

    def go_on_from(self, last: LookupStatus, capped: Iterable[str]) -> None:
        """Counts only grow: if this process was active before, its own may be ahead of what it said last.

        `capped`: the uploads whose calls are capped. What one of them paid may have been left out of the status; then
        it counts as all of them, for calls beyond a cap cannot be taken back.
        """
        self.retries = max(self.retries, last.retries)
        self.dead_letters = max(self.dead_letters, last.dead_letters)
        paid = Counter({lane.upload_id: lane.calls for lane in last.lanes})
        paid |= Counter({each.upload_id: each.calls for each in last.capped})
        self.calls_by_upload |= paid
        self.retries_by_upload |= Counter({lane.upload_id: lane.retries for lane in last.lanes})
        told = {lane.upload_id for lane in last.lanes} | set(paid)
        self._unknown = set() if last.capped_complete else set(capped) - told - set(self.calls_by_upload)

    def may_pay(self, upload_id: str, cap: int | None) -> bool:
        """Whether one call more is within the upload's cap, should all in progress reach the provider."""
        if cap is None:
            return True
        if upload_id in self._unknown:
            return False
        return self.calls_by_upload.get(upload_id, 0) + self._in_progress.get(upload_id, 0) < cap

    def begins(self, upload_id: str) -> None:
        """A call was decided on that this upload pays for."""
        self._in_progress[upload_id] += 1

    def ends(self, upload_id: str, *, written: bool) -> None:
        """The call is over. `written`: it can have arrived, and is paid."""
        self._in_progress[upload_id] -= 1
        if not self._in_progress[upload_id]:
            del self._in_progress[upload_id]
        if written:
            self.calls_by_upload[upload_id] = self.calls_by_upload.pop(upload_id, 0) + 1

    def forget(self, upload_id: str) -> None:
        """The upload is over."""
        self.calls_by_upload.pop(upload_id, None)
        self.retries_by_upload.pop(upload_id, None)
        self._unknown.discard(upload_id)

    def retried(self, upload_id: str) -> None:
        """A call that this upload paid for failed, and the phone is tried again."""
        self.retries += 1
        self.retries_by_upload[upload_id] += 1

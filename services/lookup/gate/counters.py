"""Counts calls, retries and dead letters, and decides whether an upload may pay for one more call. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from schemas.lookups import LookupStatus


@dataclass(slots=True)
class CallCounters:
    """Counts that each active gate continues from the last status of the gate before.

    A gate that is killed loses the counts of its last half second. The results hold the exact figures.
    `calls_by_upload` is ordered by each upload's last payment, the latest at the end.
    """

    retries: int = 0
    dead_letters: int = 0
    calls_by_upload: Counter[str] = field(default_factory=Counter)
    retries_by_upload: Counter[str] = field(default_factory=Counter)
    _in_progress: Counter[str] = field(default_factory=Counter)
    _unknown: set[str] = field(default_factory=set)

    def resume_from(self, last: LookupStatus, capped: Iterable[str]) -> None:
        """Continues from the last status. Counts only grow: this process may have counted further than its last status.

        `capped`: the uploads with a limit of calls. If the status leaves out what one of them paid, that upload counts
        as having reached its limit, because calls cannot be taken back.
        """
        self.retries = max(self.retries, last.retries)
        self.dead_letters = max(self.dead_letters, last.dead_letters)
        paid = Counter({lane.upload_id: lane.calls for lane in last.lanes})
        paid |= Counter({each.upload_id: each.calls for each in last.capped})
        self.calls_by_upload |= paid
        self.retries_by_upload |= Counter({lane.upload_id: lane.retries for lane in last.lanes})
        reported = {lane.upload_id for lane in last.lanes} | set(paid)
        self._unknown = set() if last.capped_complete else set(capped) - reported - set(self.calls_by_upload)

    def may_pay(self, upload_id: str, cap: int | None) -> bool:
        """Whether one more call stays within `cap` even if all calls in progress are paid. `cap` None: no limit."""
        if cap is None:
            return True
        if upload_id in self._unknown:
            return False
        return self.calls_by_upload.get(upload_id, 0) + self._in_progress.get(upload_id, 0) < cap

    def begins(self, upload_id: str) -> None:
        """A call begins that this upload would pay for."""
        self._in_progress[upload_id] += 1

    def ends(self, upload_id: str, *, written: bool) -> None:
        """The call is over. `written`: it may have reached the provider and is paid."""
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
        """A call that this upload paid for has failed, and its phone is tried again."""
        self.retries += 1
        self.retries_by_upload[upload_id] += 1

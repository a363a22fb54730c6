"""Counts calls, retries and dead letters, and decides by them whether an upload may pay for one call more. Pure."""

from collections import Counter
from dataclasses import dataclass, field

from schemas.lookups import LookupStatus


@dataclass(slots=True)
class Tally:
    """Counts carried on from one active gate to the next by way of the status.

    What a gate counted in its last half second is lost when it is killed. For exact figures there are the results.
    """

    retries: int = 0
    dead_letters: int = 0
    calls_by_upload: Counter[str] = field(default_factory=Counter)
    retries_by_upload: Counter[str] = field(default_factory=Counter)
    _in_progress: Counter[str] = field(default_factory=Counter)

    def go_on_from(self, last: LookupStatus) -> None:
        """Counts only grow: if this process was active before, its own may be ahead of what it said last."""
        self.retries = max(self.retries, last.retries)
        self.dead_letters = max(self.dead_letters, last.dead_letters)
        self.calls_by_upload |= Counter({lane.upload_id: lane.calls for lane in last.lanes})
        self.retries_by_upload |= Counter({lane.upload_id: lane.retries for lane in last.lanes})

    def may_pay(self, upload_id: str, cap: int | None) -> bool:
        """Whether one call more is within the upload's cap, should all in progress reach the provider."""
        return cap is None or self.calls_by_upload[upload_id] + self._in_progress[upload_id] < cap

    def begins(self, upload_id: str) -> None:
        """A call was decided on that this upload pays for."""
        self._in_progress[upload_id] += 1

    def ends(self, upload_id: str, *, written: bool) -> None:
        """The call is over. `written`: it can have arrived, and is paid."""
        self._in_progress[upload_id] -= 1
        self.calls_by_upload[upload_id] += written

    def retried(self, upload_id: str) -> None:
        """A call that this upload paid for failed, and the phone is tried again."""
        self.retries += 1
        self.retries_by_upload[upload_id] += 1

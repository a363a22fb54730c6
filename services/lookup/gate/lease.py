"""Decides whether this process may write calls: a lease, proven by commits that only the partition's owner can make.

Pure. Times are seconds of CLOCK_BOOTTIME, which also counts the time in which the process or the machine sleeps.
"""

from dataclasses import dataclass

LEASE_SECONDS = 2.0
RENEW_SECONDS = 0.5
HANDOVER_MARGIN_SECONDS = 0.010


@dataclass(frozen=True, slots=True)
class Renewal:
    """A commit that is about to be sent. `began_at` is a time before it, so the proof is not counted from too late."""

    began_at: float
    assignment: int


class Lease:
    """Why two gates never write at once.

    Kafka accepts a commit only from the member that owns the partition *at that moment*, which is after `began_at`. So
    the partition cannot have gone to another before `began_at`, and this process stops at `began_at` + 2 s. A new
    owner waits 2 s, one window and 10 ms after its assignment, which is after Kafka's last yes to the old one.

    A group's generations are numbered without gaps. A process that owned the partition in one and owns it in the very
    next has no previous owner but itself, and need not wait again when a standby comes or goes.
    """

    def __init__(self, *, window_seconds: float) -> None:
        self._wait_seconds = LEASE_SECONDS + window_seconds + HANDOVER_MARGIN_SECONDS
        self._assignment = 0
        self._ready_at: float | None = None
        self._owned: tuple[int, float] | None = None
        self._valid_until: float | None = None

    def assigned(self, now: float, *, generation: int) -> None:
        """The partition was given to this process in this generation of the group."""
        self._assignment += 1
        self._valid_until = None
        self._ready_at = now + self._wait_seconds
        if self._owned is not None and self._owned[0] + 1 == generation:
            self._ready_at = min(self._ready_at, self._owned[1])
        self._owned = (generation, self._ready_at)

    def revoked(self) -> None:
        """A rebalance begins, or another process owns the partition: all earlier proofs are void."""
        self._assignment += 1
        self._ready_at = None
        self._valid_until = None

    def begin_renewal(self, now: float) -> Renewal | None:
        """The commit to send now. None: between revocation and assignment."""
        if self._ready_at is None:
            return None
        return Renewal(began_at=now, assignment=self._assignment)

    def succeeded(self, renewal: Renewal) -> None:
        """Kafka accepted the commit. It proves nothing if the assignment changed meanwhile."""
        if renewal.assignment == self._assignment:
            self._valid_until = max(self._valid_until or 0.0, renewal.began_at + LEASE_SECONDS)

    def failed(self, renewal: Renewal) -> None:
        """Kafka refused the commit, or did not answer: stop at once."""
        if renewal.assignment == self._assignment:
            self._valid_until = None

    def is_owner(self) -> bool:
        return self._ready_at is not None

    def ready_at(self) -> float | None:
        """When the previous owner can no longer write and its last calls have left the window."""
        return self._ready_at

    def may_write(self, now: float) -> bool:
        """Whether a call may be written now."""
        if self._ready_at is None or self._valid_until is None:
            return False
        return self._ready_at <= now < self._valid_until

    @property
    def assignment(self) -> int:
        """Changes with every rebalance."""
        return self._assignment

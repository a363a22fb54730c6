"""Two gates never write at once, whatever the order of assignments, commits, replies and sleeps of either process."""

import itertools
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from services.lookup.gate.lease import LEASE_SECONDS, RENEW_SECONDS, Lease, Renewal

WINDOW = 1.0
TICK = 0.05
EVENTS = ("handover", "rebalance", "deaf", "sleep", "slow replies", "nothing")


@dataclass
class Gate:
    """A process that writes whenever it may and renews twice a second, unless it sleeps."""

    lease: Lease = field(default_factory=lambda: Lease(window_seconds=WINDOW))
    asleep_until: float = 0.0
    deaf_until: float = 0.0
    reply_seconds: float = 0.0
    renewed_at: float = 0.0
    replies: list[tuple[float, Renewal, bool]] = field(default_factory=list)
    has_heard_of_loss: bool = True


class Group:
    """Kafka as it behaves: one owner in its books; a commit counts only if its sender is that owner when it arrives.

    What a gate hears can be arbitrarily late: that it lost the partition, and the replies to its commits.
    """

    def __init__(self) -> None:
        self.now = 100.0
        self.generation = 1
        self.gates = (Gate(), Gate())
        self.owner = self.gates[0]
        self.owner.lease.assigned(self.now - 60, generation=self.generation)
        self.writes: list[tuple[float, Gate]] = []

    def hand_over(self) -> None:
        self.owner.has_heard_of_loss = False
        self._give_to(self.gates[self.owner is self.gates[0]])

    def rebalance(self) -> None:
        """A standby came or went; the assignor leaves the partition where it is."""
        self._give_to(self.owner)

    def _give_to(self, gate: Gate) -> None:
        self.generation += 1
        self.owner = gate
        gate.has_heard_of_loss = True
        gate.asleep_until = 0.0
        gate.lease.revoked()
        gate.lease.assigned(self.now, generation=self.generation)

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now += TICK
            for gate in self.gates:
                if self.now >= gate.asleep_until:
                    self._act(gate)

    def _act(self, gate: Gate) -> None:
        # A process that wakes up goes on in the middle: it may write before it hears of anything.
        if gate.lease.may_write(self.now):
            self.writes.append((self.now, gate))
        for at, renewal, accepted in [each for each in gate.replies if each[0] <= self.now]:
            (gate.lease.succeeded if accepted else gate.lease.failed)(renewal)
            gate.replies.remove((at, renewal, accepted))
        if not gate.has_heard_of_loss and self.now >= gate.deaf_until:
            gate.has_heard_of_loss = True
            gate.lease.revoked()
        if self.now >= gate.renewed_at + RENEW_SECONDS:
            begun = gate.lease.begin_renewal(self.now)
            if begun is not None:
                gate.renewed_at = self.now
                gate.replies.append((self.now + gate.reply_seconds, begun, gate is self.owner))


def closest_writes_of_two(writes: list[tuple[float, Gate]]) -> float:
    pairs = itertools.pairwise(writes)
    return min((later - at for (at, one), (later, other) in pairs if one is not other), default=float("inf"))


steps = st.lists(
    st.tuples(st.sampled_from(EVENTS), st.integers(0, 1), st.floats(0, 4), st.floats(0, 4)), min_size=1, max_size=12
)


@settings(max_examples=300, deadline=None)
@given(steps=steps)
def test_two_gates_never_write_within_one_window(steps: list[tuple[str, int, float, float]]) -> None:
    group = Group()
    for event, number, length, then in steps:
        gate = group.gates[number]
        if event == "handover":
            group.owner.deaf_until = group.now + length
            group.hand_over()
        elif event == "rebalance":
            group.rebalance()
        elif event == "deaf":
            gate.deaf_until = group.now + 10 * length
        elif event == "sleep":
            gate.asleep_until = group.now + 10 * length
        elif event == "slow replies":
            gate.reply_seconds = length
        group.run(then)
    assert closest_writes_of_two(group.writes) > WINDOW


def test_a_gate_that_leads_undisturbed_writes_all_the_time() -> None:
    group = Group()
    group.run(10)
    assert len(group.writes) >= 10 / TICK - RENEW_SECONDS / TICK - 2


def leading(*, at: float) -> Lease:
    """A lease that was assigned long before `at` and renewed then."""
    lease = Lease(window_seconds=WINDOW)
    lease.assigned(at - 10, generation=1)
    renewal = lease.begin_renewal(at)
    assert renewal is not None
    lease.succeeded(renewal)
    return lease


def test_a_lease_lasts_two_seconds_from_before_the_commit() -> None:
    lease = leading(at=100.0)
    assert lease.may_write(100.0)
    assert lease.may_write(100.0 + LEASE_SECONDS - 0.001)
    assert not lease.may_write(100.0 + LEASE_SECONDS)


def test_a_new_owner_waits_for_the_old_ones_time_and_window() -> None:
    lease = Lease(window_seconds=WINDOW)
    lease.assigned(100.0, generation=1)
    renewal = lease.begin_renewal(102.9)
    assert renewal is not None
    lease.succeeded(renewal)
    assert not lease.may_write(103.0)
    assert lease.may_write(103.011)


def test_nothing_is_committed_between_revoke_and_assignment() -> None:
    lease = leading(at=100.0)
    lease.revoked()
    assert lease.begin_renewal(100.1) is None
    assert not lease.may_write(100.1)


def test_a_commit_from_before_a_rebalance_proves_nothing_after_it() -> None:
    lease = leading(at=100.0)
    renewal = lease.begin_renewal(100.5)
    assert renewal is not None
    lease.revoked()
    lease.assigned(100.6, generation=2)
    lease.succeeded(renewal)
    assert not lease.may_write(100.7)


def renewed(lease: Lease, at: float) -> Lease:
    renewal = lease.begin_renewal(at)
    assert renewal is not None
    lease.succeeded(renewal)
    return lease


def test_a_standby_that_comes_or_goes_does_not_stop_the_owner() -> None:
    lease = leading(at=100.0)
    lease.revoked()
    lease.assigned(100.3, generation=2)
    assert not lease.may_write(100.4), "not before a commit in the new generation"
    assert renewed(lease, 100.4).may_write(100.5)


def test_an_owner_that_missed_a_generation_waits_like_a_new_one() -> None:
    lease = leading(at=100.0)
    lease.revoked()
    lease.assigned(100.3, generation=3)
    assert not renewed(lease, 103.2).may_write(103.3)
    assert renewed(lease, 103.2).may_write(103.32)


def test_an_interrupted_wait_goes_on_where_it_was() -> None:
    lease = Lease(window_seconds=WINDOW)
    lease.assigned(100.0, generation=1)
    lease.revoked()
    lease.assigned(102.0, generation=2)
    assert not renewed(lease, 102.9).may_write(103.0)
    assert renewed(lease, 102.9).may_write(103.02)


def test_a_refused_commit_stops_at_once() -> None:
    lease = leading(at=100.0)
    renewal = lease.begin_renewal(100.5)
    assert renewal is not None
    lease.failed(renewal)
    assert not lease.may_write(100.5)


def test_replies_in_the_wrong_order_do_not_shorten_what_was_proven() -> None:
    lease = leading(at=100.0)
    older, newer = lease.begin_renewal(100.2), lease.begin_renewal(101.0)
    assert older is not None
    assert newer is not None
    lease.succeeded(newer)
    lease.succeeded(older)
    assert lease.may_write(101.0 + LEASE_SECONDS - 0.001)


def test_a_refused_commit_from_before_a_rebalance_says_nothing_of_the_time_after_it() -> None:
    lease = leading(at=100.0)
    old = lease.begin_renewal(100.1)
    assert old is not None
    lease.revoked()
    lease.assigned(100.3, generation=2)
    renewed(lease, 100.4)
    lease.failed(old)
    assert lease.may_write(100.5)


def test_every_rebalance_is_another_assignment_and_says_who_owns() -> None:
    lease = Lease(window_seconds=WINDOW)
    seen = [(lease.assignment, lease.is_owner(), lease.ready_at())]
    lease.assigned(100.0, generation=1)
    seen.append((lease.assignment, lease.is_owner(), lease.ready_at()))
    lease.revoked()
    seen.append((lease.assignment, lease.is_owner(), lease.ready_at()))
    assert [owns for _, owns, _ in seen] == [False, True, False]
    assert [ready_at for _, _, ready_at in seen] == [None, 103.01, None]
    assert len({assignment for assignment, _, _ in seen}) == 3


def test_an_assignment_without_a_revocation_before_it_voids_what_was_proven() -> None:
    lease = leading(at=100.0)
    lease.assigned(100.3, generation=2)
    assert not lease.may_write(100.4)

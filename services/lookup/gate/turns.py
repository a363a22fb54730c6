"""Decides which upload has the turn: round robin over owners, then over the owner's uploads by weight. Pure."""

from collections.abc import Iterator

from services.lookup.gate.fairness import WEIGHTS, DeficitRoundRobin
from services.lookup.gate.lanes import EntryState, Lane


class LaneTurns:
    """The lanes that have a phone to call, in the order of their turns."""

    def __init__(self) -> None:
        self._owners: DeficitRoundRobin[str] = DeficitRoundRobin(lambda _owner: 1.0)
        self._rings: dict[str, DeficitRoundRobin[Lane]] = {}

    def head(self) -> Lane | None:
        """The lane that has the turn. None: no lane has a phone to call."""
        owner = self._owners.head()
        return None if owner is None else self._rings[owner].head()

    def charge(self, lane: Lane) -> None:
        """One call was made on the lane's turn."""
        self._owners.charge(lane.owner)
        self._rings[lane.owner].charge(lane)

    def update(self, lane: Lane) -> None:
        """Adds the lane exactly while it has a callable phone."""
        ring = self._rings.get(lane.owner)
        if lane.is_callable:
            if ring is None:
                ring = self._rings[lane.owner] = DeficitRoundRobin(lambda lane: WEIGHTS[lane.priority])
            ring.add(lane)
            self._owners.add(lane.owner)
        elif ring is not None:
            ring.discard(lane)
            if not ring:
                del self._rings[lane.owner]
                self._owners.discard(lane.owner)

    def weight_changed(self, lane: Lane) -> None:
        if lane.owner in self._rings:
            self._rings[lane.owner].weight_changed(lane)

    def lanes(self) -> Iterator[Lane]:
        """All lanes that take part, grouped by owner. Nothing may change during the iteration."""
        for ring in self._rings.values():
            yield from ring.members()

    def ahead(self) -> Iterator[Lane]:
        """The lanes in the order of their next calls if no event came. A lane comes once per call."""
        owners = self._owners.copy()
        rings = {owner: ring.copy() for owner, ring in self._rings.items()}
        left = {lane: lane.count[EntryState.WAITING] for ring in rings.values() for lane in ring.members()}
        while (owner := owners.head()) is not None:
            lane = rings[owner].head()
            assert lane is not None
            yield lane
            owners.charge(owner)
            rings[owner].charge(lane)
            left[lane] -= 1
            if left[lane] == 0:
                rings[owner].discard(lane)
            if not rings[owner]:
                owners.discard(owner)

    def shares(self) -> dict[str, float]:
        """The share of all calls that each upload gets now: equal by owner, by weight within an owner."""
        shares: dict[str, float] = {}
        for ring in self._rings.values():
            lanes = ring.members()
            whole = sum(WEIGHTS[lane.priority] for lane in lanes) * len(self._owners)
            shares.update((lane.upload_id, WEIGHTS[lane.priority] / whole) for lane in lanes)
        return shares

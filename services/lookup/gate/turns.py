"""Decides which upload's turn it is: round robin over owners, then over that owner's uploads by weight. Pure."""

from collections.abc import Iterator

from services.lookup.gate.fairness import WEIGHTS, Wheel
from services.lookup.gate.lanes import Lane, Stage


class Turns:
    """The lanes that have a phone to call, in the order of their turns."""

    def __init__(self) -> None:
        self._owners: Wheel[str] = Wheel(lambda _owner: 1.0)
        self._wheels: dict[str, Wheel[Lane]] = {}

    def head(self) -> Lane | None:
        """Whose turn it is; None if nobody has a phone to call."""
        owner = self._owners.head()
        return None if owner is None else self._wheels[owner].head()

    def charge(self, lane: Lane) -> None:
        """One call was made on the lane's turn."""
        self._owners.charge(lane.owner)
        self._wheels[lane.owner].charge(lane)

    def update(self, lane: Lane) -> None:
        """Lets the lane take part exactly while it has a callable phone."""
        wheel = self._wheels.get(lane.owner)
        if lane.is_callable:
            if wheel is None:
                wheel = self._wheels[lane.owner] = Wheel(lambda lane: WEIGHTS[lane.priority])
            wheel.add(lane)
            self._owners.add(lane.owner)
        elif wheel is not None:
            wheel.discard(lane)
            if not wheel:
                del self._wheels[lane.owner]
                self._owners.discard(lane.owner)

    def weight_changed(self, lane: Lane) -> None:
        if lane.owner in self._wheels:
            self._wheels[lane.owner].weight_changed(lane)

    def lanes(self) -> Iterator[Lane]:
        """All that take part, an owner's together. Nothing may change meanwhile."""
        for wheel in self._wheels.values():
            yield from wheel.members()

    def ahead(self) -> Iterator[Lane]:
        """The lanes in the order of their next calls, as if nothing more came in. A lane comes once per call."""
        owners = self._owners.copy()
        wheels = {owner: wheel.copy() for owner, wheel in self._wheels.items()}
        left = {lane: lane.count[Stage.WAITING] for wheel in wheels.values() for lane in wheel.members()}
        while (owner := owners.head()) is not None:
            lane = wheels[owner].head()
            assert lane is not None
            yield lane
            owners.charge(owner)
            wheels[owner].charge(lane)
            left[lane] -= 1
            if left[lane] == 0:
                wheels[owner].discard(lane)
            if not wheels[owner]:
                owners.discard(owner)

    def shares(self) -> dict[str, float]:
        """The part of all calls that goes to each upload now: owners alike, an owner's uploads by weight."""
        shares: dict[str, float] = {}
        for wheel in self._wheels.values():
            lanes = wheel.members()
            whole = sum(WEIGHTS[lane.priority] for lane in lanes) * len(self._owners)
            shares.update((lane.upload_id, WEIGHTS[lane.priority] / whole) for lane in lanes)
        return shares

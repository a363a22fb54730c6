"""How a part is: what it says of itself stands only as long as it is heard of and is not started again and again."""

from datetime import UTC, datetime, timedelta

import pytest

from schemas.parts import PartState, PartStatus
from services.assembler.status.liveness import condition_of, is_alive, part_view

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


def gate(
    *, state: PartState = "running", heard_seconds_ago: float = 1, started_seconds_ago: tuple[float, ...] = ()
) -> PartStatus:
    return PartStatus(
        role="gate",
        instance="1",
        pid=7,
        state=state,
        active=True,
        started_at=NOW - timedelta(hours=1),
        seen_at=NOW - timedelta(seconds=heard_seconds_ago),
        starts=tuple(NOW - timedelta(seconds=ago) for ago in started_seconds_ago),
        last_end="OverflowError in the fold",
    )


@pytest.mark.parametrize(
    ("part", "condition"),
    [
        (gate(), "running"),
        (gate(heard_seconds_ago=15), "running"),
        (gate(heard_seconds_ago=15.1), "silent"),
        (gate(state="standby", heard_seconds_ago=3600), "silent"),
        (gate(state="stuck", heard_seconds_ago=3600), "stuck"),
        (gate(state="stopping", heard_seconds_ago=3600), "stopping"),
        (gate(started_seconds_ago=(250, 200, 100, 10)), "running"),
        (gate(started_seconds_ago=(270, 250, 200, 100, 10)), "restarting"),
        (gate(started_seconds_ago=(9000, 250, 200, 100, 10)), "restarting"),
        (gate(started_seconds_ago=(9000, 301, 200, 100, 10)), "running"),
        (gate(started_seconds_ago=(270, 250, 200, 100, 20), heard_seconds_ago=19), "restarting"),
    ],
)
def test_a_parts_condition(part: PartStatus, condition: str) -> None:
    assert condition_of(part, NOW) == condition
    assert is_alive(part, NOW) == (condition == "running")
    assert part_view(part, NOW).active == (condition == "running")


def test_a_part_that_starts_again_and_again_says_why() -> None:
    shown = part_view(gate(started_seconds_ago=(9000, 250, 200, 100, 10)), NOW)
    assert (shown.state, shown.error, shown.restarts_lately) == ("restarting", "OverflowError in the fold", 4)
    assert part_view(gate(), NOW).error is None

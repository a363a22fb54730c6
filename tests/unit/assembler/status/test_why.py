"""Why an upload waits: a general cause is named before a particular one, and moving uploads have none."""

from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest

from schemas.interface import Why
from schemas.lookups import GateState, LaneStatus, LookupStatus
from schemas.parts import PartStatus, Role
from schemas.uploads import Counts, UploadState, WhyCode
from services.assembler.status.pages.wording.uploads import STATES, TONES, why_in_words
from services.assembler.status.why import SystemStatus, why_of
from tests.fixtures.ids import upload_id

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
U, OTHER = upload_id("u"), upload_id("other")
ROLES: tuple[Role, ...] = ("feeder", "worker", "gate", "join")


def part(role: Role, *, seconds_ago: float = 1, state: str = "running", starts: int = 1) -> PartStatus:
    return PartStatus.model_validate(
        {
            "role": role,
            "instance": "1",
            "pid": 7,
            "state": state,
            "active": True,
            "started_at": NOW - timedelta(hours=1),
            "seen_at": NOW - timedelta(seconds=seconds_ago),
            "error": None,
            "starts": [NOW - timedelta(seconds=60 - n) for n in range(starts)],
        }
    )


def lane(of: str, **changes: object) -> LaneStatus:
    fields: dict[str, object] = {
        "upload_id": of,
        "owner": "a",
        "pending": 10,
        "in_backoff": 0,
        "in_flight": 0,
        "position": 1,
        "share": 1.0,
        "calls": 0,
        "retries": 0,
        "why": "waiting_turn",
        "oldest_wanted_at": None,
    }
    return LaneStatus.model_validate(fields | changes)


def around(
    *lanes: LaneStatus, state: GateState = "running", parts: tuple[PartStatus, ...] | None = None
) -> SystemStatus:
    lookup = LookupStatus(
        instance="1",
        state=state,
        at=NOW,
        until=NOW + timedelta(seconds=60) if state == "provider_down" else None,
        limit_calls=10,
        limit_window_seconds=1,
        pace_per_second=10,
        used_last_window=0,
        calls_last_minute=0,
        pending=0,
        in_flight=0,
        in_backoff=0,
        retries=0,
        dead_letters=0,
        oldest_wanted_at=None,
        folded_offset=0,
        lanes=lanes,
        next=(),
    )
    return SystemStatus.of(lookup, tuple(part(role) for role in ROLES) if parts is None else parts)


def code_of(
    system: SystemStatus, *, state: UploadState = "in_progress", counts: Counts | None = None, fed: bool = True
) -> WhyCode | None:
    why = why_of(U, state, counts or Counts(rows=10, waiting=10), system, fed=fed, now=NOW)
    return None if why is None else why.code


def test_alone_and_moving_there_is_nothing_to_explain() -> None:
    assert code_of(around(lane(U))) is None
    assert code_of(around(lane(U))) is None, "nobody else is in the queue"


def test_beside_another_upload_it_waits_its_turn() -> None:
    assert code_of(around(lane(U), lane(OTHER))) == "waiting_turn"


def test_when_only_phones_in_backoff_are_left_it_says_so() -> None:
    assert code_of(around(lane(U, pending=3, in_backoff=3))) == "backoff"


def test_the_gates_own_reason_for_the_lane_stands() -> None:
    assert code_of(around(lane(U, why="shared_with_other_upload"), lane(OTHER))) == "shared_with_other_upload"


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ("paused", "paused"),
        ("account_problem", "account_problem"),
        ("provider_down", "provider_down"),
        ("throttled", "provider_throttled"),
        ("no_gate", "part_down"),
    ],
)
def test_a_general_cause_comes_before_a_particular_one(state: GateState, code: WhyCode) -> None:
    assert code_of(around(lane(U), lane(OTHER), state=state)) == code


def test_until_is_told_when_the_gate_knows_it() -> None:
    why = why_of(U, "in_progress", Counts(waiting=1), around(lane(U), state="provider_down"), fed=True, now=NOW)
    assert why == Why(code="provider_down", until=NOW + timedelta(seconds=60))


ALL_BUT_FED: tuple[Role, ...] = ("worker", "gate", "join")


def without(role: Role) -> tuple[PartStatus, ...]:
    return tuple(part(one, seconds_ago=16 if one == role else 1) for one in ROLES)


@pytest.mark.parametrize("role", ALL_BUT_FED)
def test_a_silent_part_of_the_path_is_named(role: Role) -> None:
    assert code_of(around(lane(U), parts=without(role))) == "part_down"


def test_the_feeder_is_needed_only_until_all_rows_are_fed() -> None:
    assert code_of(around(lane(U), parts=without("feeder")), fed=True) is None
    assert code_of(around(lane(U), parts=without("feeder")), fed=False) == "part_down"


def test_an_upload_that_is_fed_nothing_says_so() -> None:
    nothing = Counts(rows=0)
    assert code_of(around(), counts=nothing, fed=False) == "being_read"
    assert code_of(around(lane(U, pending=0)), counts=nothing, fed=False) == "being_read"
    assert code_of(around(parts=without("feeder")), counts=nothing, fed=False) == "part_down"
    assert code_of(around(), counts=Counts(rows=5, answered=5), fed=True) is None


@pytest.mark.parametrize("role", ALL_BUT_FED)
def test_a_part_that_starts_again_and_again_is_down(role: Role) -> None:
    parts = tuple(part(one, starts=5 if one == role else 1) for one in ROLES)
    assert code_of(around(lane(U), parts=parts)) == "part_down"


def test_a_living_replica_covers_for_a_silent_one() -> None:
    parts = (*(part(role) for role in ROLES), part("gate", seconds_ago=300), part("join", starts=9))
    assert code_of(around(lane(U), parts=parts)) is None


def test_a_file_nobody_can_read_waits_for_the_feeder_and_for_the_join() -> None:
    assert code_of(around(), state="pending") == "being_read"
    for role in ("feeder", "join"):
        assert code_of(around(parts=without(role)), state="pending") == "part_down"
    assert code_of(around(parts=without("worker")), state="checking") == "being_read"


@pytest.mark.parametrize("state", ["checked", "completed", "failed", "cancelled"])
def test_an_upload_that_waits_for_nothing_has_no_why(state: UploadState) -> None:
    assert code_of(around(lane(U), state="paused"), state=state) is None


def test_every_code_and_state_has_its_words() -> None:
    for code in get_args(WhyCode):
        assert why_in_words(Why(code=code))
    assert set(STATES) == set(TONES) == set(get_args(UploadState))

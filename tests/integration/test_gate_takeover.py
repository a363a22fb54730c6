"""Several gates, of which one calls: what happens when it is killed, stopped or put to sleep, seen by the API."""

import signal
import time
from collections import Counter
from pathlib import Path

from schemas import topics as registry
from schemas.codec import decode
from schemas.parts import PartStatus
from tests.integration.gate_process import GateProcess, GateStand, on_stand, phone
from tests.support.waiting import eventually

RATE = 10


async def active_instance(stand: GateStand) -> str | None:
    signs = [decode(PartStatus, record.value) for record in await stand.records(registry.PART_STATUS)]
    last = {sign.instance: sign for sign in signs if sign.role == "gate"}
    active = [sign.instance for sign in last.values() if sign.active]
    return active[0] if len(active) == 1 else None


async def wait_for_active(stand: GateStand, among: list[GateProcess]) -> GateProcess:
    """The one gate that says it is active."""
    by_instance = {gate.instance: gate for gate in among}

    async def is_known() -> bool:
        return await active_instance(stand) in by_instance

    await eventually(is_known, what="one active gate")
    instance = await active_instance(stand)
    assert instance is not None
    return by_instance[instance]


def calls_on_their_way(stand: GateStand, at_ns: int, *, latency_ns: int) -> int:
    """Calls that had reached the API at that moment (CLOCK_MONOTONIC) and not been answered, by the API's own log."""
    return sum(0 <= at_ns - each.t_ns < latency_ns for each in stand.api.arrivals())


def repeated_calls(stand: GateStand) -> int:
    calls = Counter(each.phone for each in stand.api.arrivals())
    return sum(calls.values()) - len(calls)


async def test_a_standby_takes_over_from_a_killed_gate(broker: str, topics: str, tmp_path: Path) -> None:
    async with on_stand(broker, topics, tmp_path, "--latency-ms", "200") as stand:
        gates = [stand.start_gate() for _ in range(3)]
        await stand.want([phone(number) for number in range(45)])
        await stand.wait_for_calls(15)
        active = await wait_for_active(stand, gates)
        killed_ns = time.monotonic_ns()
        active.kill()
        await stand.wait_for_results(45)
        await stand.wait_for_no_requests()
        assert {each.phone for each in stand.api.arrivals()} == {phone(number) for number in range(45)}
        assert stand.api.most_in_any_second() <= RATE
        assert {each.status for each in stand.api.arrivals()} == {200}
        # An answer that came a moment before the kill may not have been acknowledged by Kafka: at most two.
        on_their_way = calls_on_their_way(stand, killed_ns, latency_ns=200_000_000)
        assert repeated_calls(stand) <= on_their_way + 2


async def test_a_gate_that_slept_through_its_session_writes_nothing_when_it_wakes(
    broker: str, topics: str, tmp_path: Path
) -> None:
    async with on_stand(broker, topics, tmp_path, "--latency-ms", "50") as stand:
        gates = [stand.start_gate() for _ in range(2)]
        await stand.want([phone(number) for number in range(250)])
        await stand.wait_for_calls(15)
        sleeper = await wait_for_active(stand, gates)
        others = [gate for gate in gates if gate is not sleeper]
        sleeper.signal(signal.SIGSTOP)
        await wait_for_active_among(stand, others)
        called_by_then = len(stand.api.arrivals())
        await stand.wait_for_calls(called_by_then + 15)
        sleeper.signal(signal.SIGCONT)
        await stand.wait_for_calls(called_by_then + 60)
        assert stand.api.most_in_any_second() <= RATE
        assert {each.status for each in stand.api.arrivals()} == {200}
        assert repeated_calls(stand) <= 4


async def wait_for_active_among(stand: GateStand, gates: list[GateProcess]) -> None:
    """A sleeping gate cannot say that it is not active any more, so it is left out."""
    instances = {gate.instance for gate in gates}

    async def is_active() -> bool:
        signs = [decode(PartStatus, record.value) for record in await stand.records(registry.PART_STATUS)]
        last = {sign.instance: sign for sign in signs if sign.role == "gate"}
        return any(last[instance].active for instance in instances if instance in last)

    await eventually(is_active, what="a standby to become active")


async def test_a_planned_handover_repeats_no_call(broker: str, topics: str, tmp_path: Path) -> None:
    async with on_stand(broker, topics, tmp_path, "--latency-ms", "200") as stand:
        gates = [stand.start_gate() for _ in range(2)]
        await stand.want([phone(number) for number in range(45)])
        await stand.wait_for_calls(15)
        active = await wait_for_active(stand, gates)
        assert active.stop() == 0
        await stand.wait_for_results(45)
        assert Counter(each.phone for each in stand.api.arrivals()) == Counter(phone(number) for number in range(45))
        assert stand.api.most_in_any_second() <= RATE


async def test_backoffs_and_attempts_outlive_their_gate(broker: str, topics: str, tmp_path: Path) -> None:
    fails_four_times = "+19415550104"
    async with on_stand(broker, topics, tmp_path, "--latency-ms", "10") as stand:
        await stand.want([fails_four_times])
        first = stand.start_gate()
        await stand.wait_for_calls(3)

        async def is_recorded() -> bool:
            return len(await stand.records(registry.LOOKUP_RETRIES)) >= 3

        await eventually(is_recorded, what="the third retry to be in Kafka")
        first.kill()
        stand.start_gate()
        await stand.wait_for_results(1)
        (result,) = await stand.results()
        assert result.attempts == len(stand.api.arrivals()) == 5
        assert [each.calls for each in result.calls] == [5]

"""The gate as a process between a real broker and a strict API: limit, order, retries, restarts."""

from collections import Counter
from pathlib import Path

from aiokafka.partitioner import DefaultPartitioner

from schemas import topics as registry
from schemas.codec import decode
from schemas.lookups import DeadLetter, LookupCommand
from schemas.upload_events import CancelUpload, PauseUpload, ResumeUpload
from tests.fixtures.ids import upload_id
from tests.integration.gate_process import NOW, GateStand, on_stand, phone
from tests.support.waiting import eventually

FAILS_TWICE = "+19415550102"
ALWAYS_500 = "+19345550100"
ALWAYS_401 = "+19375550100"
GARBAGE = "+19385550100"
TOO_LARGE = "+19385550101"
HANGS_UP = "+19455550100"


async def paid_calls(stand: GateStand) -> Counter[str]:
    paid: Counter[str] = Counter()
    for result in await stand.results():
        for each in result.calls:
            paid[each.upload_id] += each.calls
    return paid


async def test_every_phone_is_called_once_within_the_limit_and_answers_all_who_asked(
    broker: str, topics: str, tmp_path: Path
) -> None:
    async with on_stand(broker, topics, tmp_path, "--latency-ms", "50") as stand:
        await stand.want([phone(number) for number in range(40)], "u1")
        await stand.want([phone(number) for number in range(20, 60)], "u2", owner="owner-2")
        stand.start_gate()
        await stand.wait_for_results(60)
        await stand.wait_for_no_requests()
        arrivals = stand.api.arrivals()
        assert Counter(each.phone for each in arrivals) == Counter(phone(number) for number in range(60))
        assert {each.status for each in arrivals} == {200}
        assert stand.api.most_in_any_second() <= 10
        named = {each.phone: {answer.upload_id for answer in each.answers} for each in await stand.results()}
        assert all(named[phone(number)] == {upload_id("u1"), upload_id("u2")} for number in range(20, 40))
        assert (await paid_calls(stand)).total() == 60


async def test_the_status_follows_the_queue_until_it_is_empty(broker: str, topics: str, tmp_path: Path) -> None:
    async with on_stand(broker, topics, tmp_path, "--latency-ms", "50") as stand:
        await stand.want([phone(number) for number in range(30)], "u1")
        stand.start_gate()

        async def tells_the_lane() -> bool:
            told = await stand.status()
            return (
                told is not None
                and [lane.upload_id for lane in told.lanes] == [upload_id("u1")]
                and len(told.next) == 10
            )

        async def tells_that_it_is_done() -> bool:
            told = await stand.status()
            return told is not None and (told.pending, told.in_flight, told.lanes) == (0, 0, ())

        await eventually(tells_the_lane, what="the status to tell the lane and what is next")
        await eventually(tells_that_it_is_done, what="the status to tell an empty queue")
        status = await stand.status()
        assert status is not None
        assert status.state == "running"
        assert status.folded_offset >= 30


async def test_failures_are_tried_again_and_given_up_with_their_history(
    broker: str, topics: str, tmp_path: Path
) -> None:
    async with on_stand(broker, topics, tmp_path, "--latency-ms", "10") as stand:
        await stand.want([ALWAYS_500, FAILS_TWICE, GARBAGE, TOO_LARGE, HANGS_UP, phone(1)])
        stand.start_gate(max_attempts=3)
        await stand.wait_for_results(6)
        await stand.wait_for_no_requests()
        results = {each.phone: each for each in await stand.results()}
        assert (results[FAILS_TWICE].outcome, results[FAILS_TWICE].attempts) == ("ok", 3)
        assert results[phone(1)].attempts == 1
        errors = {of: result.error.code for of, result in results.items() if result.error is not None}
        assert errors == {ALWAYS_500: "http_500", GARBAGE: "garbage", TOO_LARGE: "too_large", HANGS_UP: "no_connection"}
        assert (await paid_calls(stand)).total() == len(stand.api.arrivals())
        assert await stand.live_keys(registry.LOOKUP_RETRIES) == set()


async def test_a_dead_letter_has_its_history_and_a_failure_lies_on_its_phones_partition(
    broker: str, topics: str, tmp_path: Path
) -> None:
    async with on_stand(broker, topics, tmp_path, "--latency-ms", "10") as stand:
        await stand.want([phone(1), ALWAYS_500])
        stand.start_gate(max_attempts=2)
        await stand.wait_for_results(2)
        (record,) = await stand.records(registry.LOOKUP_DEAD_LETTERS)
        letter = decode(DeadLetter, record.value)
        headers = {name: value.decode() for name, value in record.headers}
        assert record.key.decode() == ALWAYS_500
        assert (letter.attempts, [each.code for each in letter.errors]) == (2, ["http_500", "http_500"])
        assert [each.upload_id for each in letter.requests] == [upload_id("u1")]
        assert headers["original-topic"] == "lookup-requests"
        assert (headers["original-partition"], headers["original-offset"]) == ("0", "1")
        assert (headers["attempts"], headers["first-error"][:8], headers["last-error"][:8]) == ("2", *["http_500"] * 2)
        (failure,) = [each for each in await stand.records(registry.LOOKUP_RESULTS) if b"|" in each.key]
        assert failure.key.decode() == f"{ALWAYS_500}|failed"
        numbers = list(range(stand.settings.partitions))
        assert failure.partition == DefaultPartitioner()(ALWAYS_500.encode(), numbers, numbers)


async def test_being_throttled_narrows_the_pace_and_loses_nothing(broker: str, topics: str, tmp_path: Path) -> None:
    async with on_stand(broker, topics, tmp_path, "--latency-ms", "10", "--limit", "4") as stand:
        await stand.want([phone(number) for number in range(15)])
        stand.start_gate()
        status = await stand.wait_for_state("throttled")
        assert status.pace_per_second < 9
        await stand.wait_for_results(15)
        assert {each.outcome for each in await stand.results()} <= {"ok", "not_valid"}
        assert (await paid_calls(stand)).total() == len(stand.api.arrivals())


async def test_a_refused_account_pauses_all_calls_and_says_so(broker: str, topics: str, tmp_path: Path) -> None:
    async with on_stand(broker, topics, tmp_path, "--latency-ms", "10") as stand:
        await stand.want([ALWAYS_401])
        stand.start_gate()
        await stand.wait_for_calls(1)
        status = await stand.wait_for_state("account_problem")
        assert status.until is not None
        assert status.error is not None
        assert "401" in status.error
        await stand.want([phone(number) for number in range(5)])

        async def is_queued() -> bool:
            told = await stand.status()
            return told is not None and told.pending == 6

        await eventually(is_queued, what="the requests to wait")
        assert len(stand.api.arrivals()) == 1


async def test_cancel_pause_and_resume_act_on_the_backlog(broker: str, topics: str, tmp_path: Path) -> None:
    async with on_stand(broker, topics, tmp_path, "--latency-ms", "10") as stand:
        await stand.want([phone(number) for number in range(200)], "u1")
        await stand.want([phone(number) for number in range(190, 230)], "u2", owner="owner-2")
        await stand.send(registry.UPLOAD_EVENTS, [(upload_id("u2"), PauseUpload(upload_id=upload_id("u2"), at=NOW))])
        stand.start_gate()
        await stand.wait_for_calls(5)
        await stand.send(registry.UPLOAD_EVENTS, [(upload_id("u1"), CancelUpload(upload_id=upload_id("u1"), at=NOW))])

        async def only_u2_is_left() -> bool:
            return len(await stand.live_keys(registry.LOOKUP_REQUESTS)) == 40

        await eventually(only_u2_is_left, what="the cancelled upload's requests to be buried")
        assert len(stand.api.arrivals()) < 100
        assert not {each.phone for each in stand.api.arrivals()} & {phone(number) for number in range(200, 230)}
        await stand.send(registry.UPLOAD_EVENTS, [(upload_id("u2"), ResumeUpload(upload_id=upload_id("u2"), at=NOW))])
        await stand.wait_for_no_requests()
        assert {phone(number) for number in range(190, 230)} <= {each.phone for each in stand.api.arrivals()}


async def test_a_cap_on_calls_holds_in_the_apis_log(broker: str, topics: str, tmp_path: Path) -> None:
    async with on_stand(broker, topics, tmp_path, "--latency-ms", "10") as stand:
        await stand.open("u1", max_calls=6)
        await stand.want([ALWAYS_500, FAILS_TWICE, *(phone(number) for number in range(4))], "u1")
        stand.start_gate()
        await stand.wait_for_no_requests()
        assert len(stand.api.arrivals()) == 6
        assert await paid_calls(stand) == {upload_id("u1"): 6}
        failed = {each.phone: each.error.code for each in await stand.results() if each.error is not None}
        assert failed == {ALWAYS_500: "max_calls", FAILS_TWICE: "max_calls"}


async def test_all_calls_can_be_paused(broker: str, topics: str, tmp_path: Path) -> None:
    async with on_stand(broker, topics, tmp_path, "--latency-ms", "10") as stand:
        await stand.send(registry.LOOKUP_COMMANDS, [("lookups", LookupCommand(paused=True, by="admin", at=NOW))])
        await stand.want([phone(number) for number in range(5)])
        stand.start_gate()
        status = await stand.wait_for_state("paused")
        assert status.pending == 5
        assert stand.api.arrivals() == []
        await stand.send(registry.LOOKUP_COMMANDS, [("lookups", LookupCommand(paused=False, by="admin", at=NOW))])
        await stand.wait_for_results(5)


async def test_a_stopped_gate_finishes_its_calls_and_the_next_one_goes_on(
    broker: str, topics: str, tmp_path: Path
) -> None:
    async with on_stand(broker, topics, tmp_path, "--latency-ms", "300") as stand:
        await stand.want([phone(number) for number in range(25)])
        first = stand.start_gate()
        await stand.wait_for_calls(5)
        assert first.stop() == 0
        made = len(stand.api.arrivals())
        assert len(await stand.results()) == made
        stand.start_gate()
        await stand.wait_for_results(25)
        assert Counter(each.phone for each in stand.api.arrivals()) == Counter(phone(number) for number in range(25))
        await stand.wait_for_no_requests()

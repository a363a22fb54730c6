"""Orders of effects that make a crash harmless: each is held here, with fakes at the gate's own ports."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from schemas import topics
from schemas.codec import decode
from schemas.lookups import DeadLetter, LookupResult
from schemas.rows import BadRecord
from schemas.topics import Topic
from services.lookup.gate.dispatcher import Dispatcher
from services.lookup.gate.http_caller import _STARTED, _WRITTEN, _Attempt
from services.lookup.gate.leader import Leader
from services.lookup.gate.lease import LEASE_SECONDS, Lease
from services.lookup.gate.lease_keeper import renew
from services.lookup.gate.limiter import Limiter
from services.lookup.gate.outgoing import Delivery, OutgoingRecord, Undeliverable
from services.lookup.gate.pacer import Admission, Pacer, Withdrawn
from services.lookup.gate.recorder import Recorder
from services.lookup.gate.scheduler import Call
from services.lookup.gate.status import compose_status
from services.lookup.providers.protocol import Reply
from tests.support.waiting import eventually
from tests.unit.lookup.gate.bench import BROKEN, OK, Bench
from tests.unit.lookup.gate.requests import NOW, phone, request

SECOND = 1_000_000_000


class Kafka:
    """Where records go in these tests: acknowledges when it is told to; takes none over `limit` bytes."""

    def __init__(self, *, limit: int = 10**9, acknowledges: bool = True) -> None:
        self.sent: list[OutgoingRecord] = []
        self.acknowledged: list[OutgoingRecord] = []
        self.limit = limit
        self._may_acknowledge = asyncio.Event()
        if acknowledges:
            self._may_acknowledge.set()

    async def send(self, *records: OutgoingRecord) -> list[Delivery]:
        self.sent += records
        await self._may_acknowledge.wait()
        too_large = Undeliverable("MessageSizeTooLargeError", is_too_large=True)
        outcomes: list[Delivery] = []
        for each in records:
            if len(each.value or b"") > self.limit:
                outcomes.append(too_large)
            else:
                self.acknowledged.append(each)
                outcomes.append(0)
        return outcomes

    def acknowledge(self) -> None:
        self._may_acknowledge.set()

    def of(self, topic: Topic) -> list[OutgoingRecord]:
        return [each for each in self.sent if each.topic is topic]


async def test_a_result_is_acknowledged_before_anybody_is_settled_or_buried() -> None:
    bench, kafka = Bench(), Kafka(acknowledges=False)
    bench.want(request(1))
    recorder = Recorder(kafka, bench.scheduler, may_record=lambda: True)
    records = bench.scheduler.replied(bench.begin(), OK, bench.now, may_fail=True)
    writing = asyncio.create_task(recorder.write(records))
    burying = asyncio.create_task(recorder.run())
    await eventually(lambda: bool(kafka.of(topics.LOOKUP_RESULTS)), what="a result", seconds=5, pause_seconds=0)
    for _ in range(50):
        await asyncio.sleep(0)
    assert bench.scheduler.fold.queue.entry(phone(1)) is not None
    assert not bench.scheduler.fold.pending_tombstones
    assert kafka.of(topics.LOOKUP_REQUESTS) == []
    kafka.acknowledge()
    await writing
    await eventually(lambda: bool(kafka.of(topics.LOOKUP_REQUESTS)), what="a tombstone", seconds=5, pause_seconds=0)
    assert bench.scheduler.fold.queue.entry(phone(1)) is None
    burying.cancel()


async def test_a_dead_letter_comes_before_its_result_and_the_retry_ends_after_it() -> None:
    bench, kafka = Bench(max_attempts=2), Kafka()
    bench.want(request(1))
    recorder = Recorder(kafka, bench.scheduler, may_record=lambda: True)
    for _ in range(2):
        await recorder.write(bench.scheduler.replied(bench.begin(), BROKEN, bench.now, may_fail=True))
        bench.wait(60)
    assert [each.topic for each in kafka.acknowledged] == [
        topics.LOOKUP_RETRIES,
        topics.LOOKUP_DEAD_LETTERS,
        topics.LOOKUP_RESULTS,
        topics.LOOKUP_RETRIES,
    ]
    assert kafka.acknowledged[-1].value is None


async def test_the_lease_counts_from_before_the_commit_that_proves_it() -> None:
    lease, now = Lease(window_seconds=1.0), 100.0
    lease.assigned(0.0, generation=1)

    async def slow_commit() -> None:
        nonlocal now
        now += 1.5

    await renew(lease, slow_commit, clock=lambda: now)
    assert lease.may_write(now)
    assert lease.may_write(100.0 + LEASE_SECONDS - 0.001)
    assert not lease.may_write(100.0 + LEASE_SECONDS)


class HeldLog:
    """A log whose end is not reached before it is told to be."""

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.asked = 0
        self.reached = asyncio.Event()
        self._meanwhile = meanwhile

    async def catch_up(self) -> None:
        self.asked += 1
        await self.reached.wait()
        self._meanwhile()


def leader_that_owns(
    bench: Bench, *, put_aside: Callable[[BadRecord], None] = lambda _record: None
) -> tuple[Leader, Lease]:
    lease = Lease(window_seconds=1.0)
    lease.assigned(0.0, generation=1)
    renewal = lease.begin_renewal(100.0)
    assert renewal is not None
    lease.succeeded(renewal)
    leader = Leader(bench.scheduler, lease, put_aside=put_aside, on_change=lambda: None, boot_time=lambda: 101.0)
    return leader, lease


async def test_a_gate_leads_only_when_it_has_read_to_the_end_that_the_log_had_then() -> None:
    leader, _ = leader_that_owns(Bench())
    held = HeldLog()
    running = asyncio.create_task(leader.run(held))
    await eventually(lambda: held.asked == 1, what="the lease to be asked for", seconds=5, pause_seconds=0)
    for _ in range(50):
        await asyncio.sleep(0)
    assert not leader.leads
    assert not leader.may_write()
    held.reached.set()
    await eventually(lambda: leader.leads, what="the gate to lead", seconds=5, pause_seconds=0)
    assert leader.may_write()
    running.cancel()


async def test_a_gate_that_lost_the_partition_while_it_read_does_not_lead() -> None:
    bench = Bench()
    leader, lease = leader_that_owns(bench)

    def lose_it_and_get_it_back() -> None:
        lease.revoked()
        lease.assigned(90.0, generation=9)

    held = HeldLog(meanwhile=lose_it_and_get_it_back)
    held.reached.set()
    running = asyncio.create_task(leader.run(held))
    await eventually(lambda: held.asked == 1, what="the lease to be asked for", seconds=5, pause_seconds=0)
    for _ in range(50):
        await asyncio.sleep(0)
    assert not leader.leads
    assert not bench.scheduler.fold.is_sole_writer
    running.cancel()


def bad(error: str) -> BadRecord:
    return BadRecord(
        topic="lookup-requests", partition=0, offset=0, error=error, key=None, value=None, seen_by="gate-1", at=NOW
    )


async def test_what_cannot_be_worked_on_is_put_aside_by_the_gate_that_leads_and_by_one_only() -> None:
    """What came before the last status, the gate that wrote it has put aside."""
    bench, aside = Bench(), list[str]()
    limiter = Limiter(rate=10, window_ns=SECOND)
    said = compose_status(bench.scheduler, limiter, instance="1", now=bench.now, now_ns=0, error=None)
    bench.record(topics.LOOKUP_STATUS, "0", said)
    leader, lease = leader_that_owns(bench, put_aside=lambda record: aside.append(record.error))
    for name, after_ms in (("before", 0), ("after", 1)):
        leader.found_bad_record(bad(name), bench.now_ms + after_ms)
    held = HeldLog()
    held.reached.set()
    running = asyncio.create_task(leader.run(held))
    await eventually(lambda: leader.leads, what="the gate to lead", seconds=5, pause_seconds=0)
    assert aside == ["after"]
    leader.found_bad_record(bad("while it leads"), 0)
    assert aside == ["after", "while it leads"]
    lease.revoked()
    leader.lease_changed()
    leader.found_bad_record(bad("while it stands by"), bench.now_ms + 2)
    assert aside == ["after", "while it leads"]
    running.cancel()


class Provider:
    """Calls that are answered at once, as soon as they may be written."""

    def __init__(self) -> None:
        self.made: list[str] = []

    async def call(self, call: Call, judge: Callable[[], Admission], *, on_written: Callable[[], None]) -> Reply:
        while (verdict := judge()) is not Admission.GO:
            if verdict is Admission.DROP:
                raise Withdrawn
            await asyncio.sleep(0)
        call.written = True
        self.made.append(call.phone)
        on_written()
        return OK


async def test_no_call_is_made_while_kafka_holds_twice_as_many_answers_as_there_are_slots() -> None:
    bench, kafka, provider = Bench(), Kafka(acknowledges=False), Provider()
    bench.want(*(request(number) for number in range(50)))
    recorder = Recorder(kafka, bench.scheduler, may_record=lambda: True)
    dispatcher = Dispatcher(
        bench.scheduler, Limiter(rate=5, window_ns=SECOND), provider, recorder, rate=5, may_write=lambda: True
    )
    running = asyncio.create_task(dispatcher.run())
    await eventually(lambda: len(provider.made) >= 10, what="10 calls", seconds=5, pause_seconds=0)
    for _ in range(200):
        await asyncio.sleep(0)
    assert len(provider.made) == 10
    kafka.acknowledge()
    await eventually(lambda: len(provider.made) == 50, what="all calls", seconds=5, pause_seconds=0)
    await dispatcher.drain(5)
    await running


async def test_calls_that_wait_at_the_socket_already_are_held_as_well() -> None:
    bench, kafka = Bench(), Kafka(acknowledges=False)
    bench.want(*(request(number) for number in range(50)))

    class Crowded(Provider):
        """Asks nobody's permit before eight wait."""

        waiting = 0

        async def call(self, call: Call, judge: Callable[[], Admission], *, on_written: Callable[[], None]) -> Reply:
            self.waiting += 1
            while self.waiting < 8:
                await asyncio.sleep(0)
            return await super().call(call, judge, on_written=on_written)

    provider = Crowded()
    recorder = Recorder(kafka, bench.scheduler, may_record=lambda: True)
    dispatcher = Dispatcher(
        bench.scheduler, Limiter(rate=100, window_ns=SECOND), provider, recorder, rate=2, may_write=lambda: True
    )
    running = asyncio.create_task(dispatcher.run())
    await eventually(lambda: len(provider.made) >= 4, what="4 calls", seconds=5, pause_seconds=0)
    for _ in range(200):
        await asyncio.sleep(0)
    assert len(provider.made) == 4
    kafka.acknowledge()
    await eventually(lambda: len(provider.made) == 50, what="all calls", seconds=5, pause_seconds=0)
    await dispatcher.drain(5)
    await running


async def test_a_call_that_comes_back_unwritten_leaves_its_place_once() -> None:
    """A connection may turn out to be gone after the permit: then the call was counted as written and is withdrawn."""
    bench, kafka = Bench(), Kafka()
    bench.want(*(request(number) for number in range(3)))

    class Stale(Provider):
        async def call(self, call: Call, judge: Callable[[], Admission], *, on_written: Callable[[], None]) -> Reply:
            if len(self.made) < 100 and judge() is Admission.GO:
                self.made.append(call.phone)
                on_written()
                await asyncio.sleep(0)
                raise Withdrawn
            return await super().call(call, judge, on_written=on_written)

    provider = Stale()
    recorder = Recorder(kafka, bench.scheduler, may_record=lambda: True)
    dispatcher = Dispatcher(
        bench.scheduler, Limiter(rate=5, window_ns=SECOND), provider, recorder, rate=5, may_write=lambda: True
    )
    running = asyncio.create_task(dispatcher.run())
    await eventually(lambda: len(kafka.of(topics.LOOKUP_RESULTS)) == 3, what="3 results", seconds=5, pause_seconds=0)
    await dispatcher.drain(5)
    await running
    assert dispatcher._unwritten == 0


async def test_a_slot_is_held_until_its_request_is_written_and_its_window_begins_then() -> None:
    limiter = Limiter(rate=1, window_ns=SECOND)
    pacer = Pacer(limiter, patience_seconds=60)
    bench = Bench()
    bench.want(request(1))
    call = bench.begin()
    call.written = False

    class Request:
        method = b"GET"

    def permit() -> Awaitable[object]:
        return pacer.permit(lambda: Admission.GO)

    attempt = _Attempt(call, limiter, permit, lambda: None, 10.0)  # type: ignore[arg-type]  # no request is ever sent
    await attempt.trace(_STARTED, {"request": Request})
    assert call.written
    assert limiter.next_free_at(10**18) is None, "however long the write takes, nobody else may write"
    await attempt.trace(_WRITTEN[0], {})
    written_at = limiter._last_write_at
    assert written_at is not None
    free_at = limiter.next_free_at(written_at)
    assert free_at is not None
    assert free_at >= written_at + SECOND


async def test_what_is_too_large_for_kafka_is_written_shorter() -> None:
    bench, kafka = Bench(max_attempts=1), Kafka(limit=2_000)
    bench.want(*(request(1, f"u{number}") for number in range(100)))
    recorder = Recorder(kafka, bench.scheduler, may_record=lambda: True)
    await recorder.write(bench.scheduler.replied(bench.begin(), BROKEN, bench.now, may_fail=True))
    results = [decode(LookupResult, each.value) for each in kafka.acknowledged if each.topic is topics.LOOKUP_RESULTS]
    named = [each.upload_id for result in results for each in result.answers]
    assert len(named) == len(set(named)) == 100
    assert sum(paid.calls for result in results for paid in result.calls) == 1
    (letter,) = [each for each in kafka.acknowledged if each.topic is topics.LOOKUP_DEAD_LETTERS]
    assert decode(DeadLetter, letter.value).requests_total == 100
    assert bench.scheduler.fold.queue.entry(phone(1)) is None
    assert recorder.error is None


async def test_a_result_that_kafka_never_takes_ends_nothing_but_its_phone() -> None:
    bench, kafka = Bench(), Kafka(limit=10)
    bench.want(request(1), request(2))
    recorder = Recorder(kafka, bench.scheduler, may_record=lambda: True)
    await recorder.write(bench.scheduler.replied(bench.begin(), OK, bench.now, may_fail=True))
    assert recorder.error is not None
    call = bench.scheduler.next_call(bench.now)
    assert call is not None
    assert call.phone == phone(2), "the first is not paid for again"
    assert bench.scheduler.next_call(bench.now + timedelta(days=1)) is None


async def test_a_phone_that_is_forgotten_while_its_result_is_on_the_way_is_erased_again() -> None:
    bench, kafka = Bench(), Kafka(acknowledges=False)
    bench.want(request(1))
    recorder = Recorder(kafka, bench.scheduler, may_record=lambda: True)
    records = bench.scheduler.replied(bench.begin(), OK, bench.now, may_fail=True)
    writing = asyncio.create_task(recorder.write(records))
    await eventually(lambda: bool(kafka.of(topics.LOOKUP_RESULTS)), what="a result", seconds=5, pause_seconds=0)
    bench.wait(1)
    bench.record(topics.LOOKUP_RESULTS, phone(1), None)
    kafka.acknowledge()
    await writing
    written = kafka.of(topics.LOOKUP_RESULTS)
    assert [(each.key, each.value is None) for each in written[1:]] == [(phone(1), True), (f"{phone(1)}|failed", True)]
    assert all(each.partition_key == phone(1) for each in written)
    assert not bench.scheduler.fold.erased_in_call


async def test_a_phone_that_is_forgotten_while_it_is_called_has_no_result() -> None:
    for reply in (OK, BROKEN):
        bench, kafka = Bench(), Kafka()
        bench.want(request(1))
        call = bench.begin()
        bench.wait(1)
        bench.record(topics.LOOKUP_RESULTS, phone(1), None)
        recorder = Recorder(kafka, bench.scheduler, may_record=lambda: True)
        await recorder.write(bench.scheduler.replied(call, reply, bench.now, may_fail=True))
        assert kafka.of(topics.LOOKUP_RESULTS) == []
        assert bench.scheduler.fold.queue.entry(phone(1)) is None
        assert not bench.scheduler.fold.erased_in_call


async def test_refusals_are_few_at_a_time_on_their_way() -> None:
    bench, kafka = Bench(), Kafka(acknowledges=False)
    bench.open("u1", max_calls=0)
    bench.want(*(request(number) for number in range(400)))
    assert bench.scheduler.next_call(bench.now) is None
    recorder = Recorder(kafka, bench.scheduler, may_record=lambda: True)
    running = asyncio.create_task(recorder.run_refusals())
    await eventually(lambda: len(kafka.of(topics.LOOKUP_RESULTS)) >= 50, what="50 results", seconds=5, pause_seconds=0)
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(kafka.of(topics.LOOKUP_RESULTS)) == 50
    kafka.acknowledge()
    await eventually(
        lambda: not list(bench.scheduler.fold.queue.lanes), what="an empty queue", seconds=5, pause_seconds=0
    )
    assert len(kafka.of(topics.LOOKUP_RESULTS)) == 400
    running.cancel()

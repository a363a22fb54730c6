"""The gate's scheduler with a virtual clock, a log that acknowledges at once, and a count of each paid call."""

from collections import Counter
from datetime import timedelta

from schemas import topics
from schemas.base import Message
from schemas.codec import encode
from schemas.lookups import LookupRequest, PhoneData
from schemas.topics import Topic
from schemas.upload_events import UploadEventBase, UploadOpened
from schemas.uploads import UploadOptions
from services.lookup.gate.call_outcome import CallOutcome
from services.lookup.gate.clock import Clock
from services.lookup.gate.log_record import LogRecord
from services.lookup.gate.scheduler import Call, CallScheduler
from services.lookup.providers.protocol import AccountProblem, Found, Reply, Wait
from tests.unit.lookup.gate.requests import NOW, id_of, name_of

OK = Found(PhoneData(line_type="mobile"))
BROKEN = Wait("http_500", "status 500")
REFUSED = AccountProblem("http_401", "status 401")


class Bench:
    """One gate. `now` is its time and the log's."""

    def __init__(self, *, max_attempts: int = 6) -> None:
        self.now = NOW
        clock = Clock(wall=self.seconds, steady=self.seconds)
        self.scheduler = CallScheduler(provider="generic", max_attempts=max_attempts, random=lambda: 0.0, clock=clock)
        self.opened: set[str] = set()
        self.offset = 0
        self.made: list[str] = []
        self.written: list[CallOutcome] = []

    def want(self, *messages: LookupRequest) -> None:
        for message in messages:
            if message.upload_id not in self.opened:
                self.open(name_of(message.upload_id))
            self.record(topics.LOOKUP_REQUESTS, message.key, message)

    def open(self, upload: str, *, max_calls: int | None = None) -> None:
        """The upload's opening. An upload without one has it with its first request."""
        self.opened.add(id_of(upload))
        options = UploadOptions(max_calls=max_calls)
        self.event(UploadOpened(upload_id=id_of(upload), at=self.now, name="a.csv", owner="owner-1", options=options))

    def event(self, message: UploadEventBase) -> None:
        self.record(topics.UPLOAD_EVENTS, message.upload_id, message)

    def record(self, topic: Topic, key: str, message: Message | None) -> None:
        value = None if message is None else encode(message)
        self.apply(LogRecord(topic, key, value, self.offset, self.now_ms))

    def apply(self, record: LogRecord) -> None:
        self.scheduler.fold.apply(record)
        self.offset += record.topic is topics.LOOKUP_REQUESTS

    def begin(self) -> Call:
        call = self.scheduler.next_call(self.now)
        assert call is not None
        call.written = True
        self.made.append(call.phone)
        return call

    def end(self, call: Call, reply: Reply, *, may_fail: bool = True) -> CallOutcome:
        records = self.scheduler.replied(call, reply, self.now, may_fail=may_fail)
        self.acknowledge(records)
        return records

    def acknowledge(self, records: CallOutcome) -> None:
        self.written.append(records)
        for result in records.results:
            self.scheduler.result_written(result, self.now_ms)
        self.scheduler.finished(records)

    def refuse(self) -> list[CallOutcome]:
        """Refuses what may be refused now."""
        refused = self.scheduler.next_refused(self.now)
        for records in refused:
            self.acknowledge(records)
        return refused

    def call(self, reply: Reply) -> CallOutcome:
        return self.end(self.begin(), reply)

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def seconds(self) -> float:
        return self.now.timestamp()

    @property
    def now_ms(self) -> int:
        return int(self.now.timestamp() * 1000)

    @property
    def accounted(self) -> Counter[str]:
        """Calls by payer over all results, as the assembler adds them up."""
        paid: Counter[str] = Counter()
        for records in self.written:
            for each in (each for result in records.results for each in result.calls):
                paid[name_of(each.upload_id)] += each.calls
        return paid

    def run_dry(self, reply: Reply = OK) -> None:
        """Answers everything that is left, however long its backoff."""
        for _ in range(1_000):
            self.refuse()
            if not list(self.scheduler.fold.queue.lanes):
                return
            call = self.scheduler.next_call(self.now)
            if call is None:
                self.wait(10)
                continue
            call.written = True
            self.made.append(call.phone)
            self.end(call, reply)
        raise AssertionError("the queue never ran dry")

"""Owns the gate's state as a fold of the log: what is wanted, known, failed and commanded. Pure: `apply` one record."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from schemas import topics
from schemas.codec import UndecodableRecord, decode, decode_one_of
from schemas.lookups import LookupCommand, LookupRequest, LookupResult, LookupRetry, parse_request_key, parse_result_key
from schemas.topics import Topic
from schemas.upload_events import UPLOAD_EVENT, CancelUpload, DeleteUpload
from schemas.values import EARLIEST
from services.lookup.gate.commands import apply_event
from services.lookup.gate.controls import DAY_MS, HOUR_MS, Controls
from services.lookup.gate.lanes import Ask, Entry, Stage
from services.lookup.gate.queue import Queue
from services.lookup.gate.recent_results import RecentResults
from services.lookup.gate.retries import NEW, History

FOLDED: tuple[Topic, ...] = (
    topics.LOOKUP_REQUESTS,
    topics.LOOKUP_RETRIES,
    topics.UPLOAD_EVENTS,
    topics.LOOKUP_COMMANDS,
    topics.LOOKUP_RESULTS,
    topics.LOOKUP_STATUS,
)


@dataclass(frozen=True, slots=True)
class LogRecord:
    """A record as the fold reads it."""

    topic: Topic
    key: str
    value: bytes | None
    offset: int
    timestamp_ms: int


_LONGEST_BACKOFF: Final = timedelta(milliseconds=HOUR_MS)


class Fold:
    """The same records give the same state, whatever the order between topics in which they are read.

    `graves` are the request keys that are settled while no tombstone of them was read: the active gate writes those.
    `orphans` are phones whose upload withdrew after calls had been paid: they are yet to be accounted for. `erased` are
    phones that were forgotten and whose retry is yet to be, `forgotten` those that were being called then.
    `last_status` is the last record of `lookup-status` as it was read: decoding each would cost more than all else.

    `to_steady` turns a time that was written down into one of the clock by which backoffs end.
    """

    def __init__(
        self, *, keep_days: int = 30, to_steady: Callable[[datetime], datetime] = lambda moment: moment
    ) -> None:
        self.queue = Queue()
        self.recent = RecentResults()
        self.controls = Controls(keep_ms=keep_days * DAY_MS)
        self.histories: dict[str, History] = {}
        self.graves: dict[str, None] = {}
        self.orphans: dict[str, None] = {}
        self.erased: dict[str, None] = {}
        self.forgotten: set[str] = set()
        self.paused = False
        self.folded_offset = 0
        self.is_sole_writer = False
        self.last_status: bytes | None = None
        self._to_steady = to_steady

    def apply(self, record: LogRecord) -> None:
        """Takes one record in.

        Raises:
            UndecodableRecord: the value is not what its topic promises. The state is as before.
        """
        for _ in self.steps(record):
            pass

    def steps(self, record: LogRecord) -> Iterator[None]:
        """Takes one record in step by step: where each ends something else may be done with the fold.

        All but the end of a large upload is one step. Raises as `apply`.
        """
        if record.topic is topics.UPLOAD_EVENTS:
            event = decode_one_of(UPLOAD_EVENT, record.value, what="upload event", timestamp_ms=record.timestamp_ms)
            apply_event(event, self.controls, self.queue, timestamp_ms=record.timestamp_ms)
            if isinstance(event, CancelUpload | DeleteUpload):
                yield from self._drop(event.upload_id)
        else:
            self._apply(record)

    def _apply(self, record: LogRecord) -> None:
        if record.topic is topics.LOOKUP_REQUESTS:
            self.folded_offset = record.offset + 1
            self._apply_request(record)
        elif record.topic is topics.LOOKUP_RETRIES:
            self._apply_retry(record)
        elif record.topic is topics.LOOKUP_COMMANDS:
            self.paused = decode(LookupCommand, record.value, timestamp_ms=record.timestamp_ms).paused
        elif record.topic is topics.LOOKUP_STATUS:
            self.last_status = record.value
        else:
            self._apply_result(record)

    def settle(self, result: LookupResult, timestamp_ms: int) -> None:
        """A result is in the log: whoever it answers waits no more."""
        self.recent.remember(result, timestamp_ms)
        entry = self.queue.entry(result.phone)
        if entry is None:
            return
        self._end(entry, [ask for ask in entry.asks if self.recent.answers(result.phone, ask.want)])

    def end_next(self, now_ms: int) -> Iterator[str]:
        """Ends, step by step, one upload that is over; yields its id at each step. None is left if it yields nothing.

        Only whoever has read the log to its end may ask: an opening may come after the requests that wait for it.
        """
        upload_id = self.controls.next_over(now_ms)
        if upload_id is not None:
            yield upload_id
            for _ in self._drop(upload_id):
                yield upload_id

    def max_calls(self, upload_id: str) -> int | None:
        """The cap on the calls that the upload may pay for; None: there is none."""
        control = self.controls.get(upload_id)
        return None if control is None else control.max_calls

    def history(self, phone: str) -> History:
        return self.histories.get(phone, NEW)

    def take_over(self) -> None:
        """From now on this process alone writes retries and tombstones: what it reads back is its own."""
        self.is_sole_writer = True
        self.orphans |= {phone: None for phone in self.histories if self.queue.entry(phone) is None}

    def stand_by(self) -> None:
        self.is_sole_writer = False

    def is_accounted(self, phone: str) -> bool:
        """Whether a result was written after the phone's last failure: it carries the calls that were paid."""
        since = self.history(phone).last_error_at
        return since is None or any(known.looked_up_at >= since for known in self.recent.of(phone))

    def _apply_request(self, record: LogRecord) -> None:
        if record.value is None:
            self._apply_tombstone(record.key)
            return
        request = decode(LookupRequest, record.value, timestamp_ms=record.timestamp_ms)
        if record.key != request.key:
            # Its tombstone would have another key: it would be there again at every start.
            raise UndecodableRecord("the key is not that of the request")
        control = self.controls.get(request.upload_id)
        if (control is None or not control.is_opened) and self.queue.lane(request.upload_id) is None:
            self.controls.requested(request.upload_id, record.timestamp_ms)
        priority = request.priority if control is None or control.priority is None else control.priority
        is_new = self.queue.entry(request.phone) is None
        entry = self.queue.want(
            request,
            offset=record.offset,
            priority=priority,
            paused=control is not None and control.paused,
            opened=control is not None and control.is_opened,
        )
        lane = self.queue.lane(request.upload_id)
        asks = [ask for ask in entry.of(lane) if ask.round == request.round] if lane is not None else []
        is_withdrawn = control is not None and control.withdrawn
        is_erased = self.recent.was_erased(request.phone, since_ms=record.timestamp_ms)
        if is_withdrawn or is_erased or any(self.recent.answers(request.phone, ask.want) for ask in asks):
            self._end(entry, asks)
            return
        self.forgotten.discard(request.phone)
        if is_new and request.phone in self.histories:
            self.orphans.pop(request.phone, None)
            self._go_on(entry)

    def _apply_tombstone(self, key: str) -> None:
        parsed = parse_request_key(key)
        if parsed is None:
            raise UndecodableRecord("the key of a request is `phone:upload:round`")
        entry, lane = self.queue.entry(parsed.phone), self.queue.lane(parsed.upload_id)
        if entry is not None and lane is not None:
            self._end(entry, [ask for ask in entry.of(lane) if ask.round == parsed.round])
        self.graves.pop(key, None)

    def _apply_retry(self, record: LogRecord) -> None:
        if self.is_sole_writer:
            return
        if record.value is None:
            self.histories.pop(record.key, None)
            return
        retry = decode(LookupRetry, record.value, timestamp_ms=record.timestamp_ms)
        if record.key != retry.phone:
            raise UndecodableRecord("the key is not the phone of the retry")
        # Whatever its writer's clock was: nothing backs off for longer than that after it was written.
        latest = EARLIEST + timedelta(milliseconds=max(0, record.timestamp_ms)) + _LONGEST_BACKOFF
        self.histories[retry.phone] = History.of(retry).until(min(retry.retry_at, latest))
        entry = self.queue.entry(retry.phone)
        if entry is not None:
            self._go_on(entry)

    def _apply_result(self, record: LogRecord) -> None:
        if record.value is None:
            self._apply_erasure(record)
            return
        self.settle(decode(LookupResult, record.value, timestamp_ms=record.timestamp_ms), record.timestamp_ms)

    def _apply_erasure(self, record: LogRecord) -> None:
        """A phone's failure is erased; or all that is known of it, and then what is queued for it goes as well.

        Who asks for it later means it: that request is called. Calls that were paid for it are accounted for no more.
        """
        about = parse_result_key(record.key)
        if about is None:
            raise UndecodableRecord("the key of a result is its phone, or `phone|failed`")
        phone = about.phone
        self.recent.erase(phone, failures=about.is_failure, at_ms=record.timestamp_ms)
        if about.is_failure:
            return
        if self.histories.pop(phone, None) is not None:
            self.erased[phone] = None
        self.orphans.pop(phone, None)
        entry = self.queue.entry(phone)
        if entry is None:
            return
        erased_at = EARLIEST + timedelta(milliseconds=max(0, record.timestamp_ms))
        self._end(entry, [ask for ask in entry.asks if ask.wanted_at <= erased_at])
        if entry.stage is Stage.CALLED and not entry.is_wanted:
            self.forgotten.add(phone)

    def _drop(self, upload_id: str) -> Iterator[None]:
        for dropped in self.queue.drop_lane(upload_id):
            for entry, ask in dropped:
                self.graves[ask.key(entry.phone)] = None
                self._note_orphan(entry)
            yield

    def _end(self, entry: Entry, asks: list[Ask]) -> None:
        for ask in asks:
            self.graves[ask.key(entry.phone)] = None
        self.queue.withdraw(entry, asks)
        self._note_orphan(entry)

    def _note_orphan(self, entry: Entry) -> None:
        if entry.stage is Stage.SETTLED and entry.phone in self.histories:
            self.orphans[entry.phone] = None

    def _go_on(self, entry: Entry) -> None:
        """The phone has failed before: it keeps its backoff. A call of ours in progress ends by itself."""
        retry_at = self.histories[entry.phone].retry_at
        if retry_at is not None and entry.stage is not Stage.CALLED:
            self.queue.back_off(entry, self._to_steady(retry_at))

"""Owns the gate's state as a fold of the log: what is wanted, known, failed and commanded. Pure: `apply` one record."""

from collections.abc import Iterator
from dataclasses import dataclass

from schemas import topics
from schemas.codec import UndecodableRecord, decode, decode_one_of
from schemas.lookups import LookupCommand, LookupRequest, LookupResult, LookupRetry
from schemas.topics import Topic
from schemas.upload_events import (
    UPLOAD_EVENT,
    CancelUpload,
    DeleteUpload,
    PauseUpload,
    ResumeUpload,
    SetOptions,
    SetPriority,
    StartUpload,
    UploadEvent,
    UploadOpened,
)
from services.lookup.lanes import Ask, Entry, Stage
from services.lookup.queue import Queue
from services.lookup.recent import RecentResults
from services.lookup.retries import NEW, History

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


@dataclass(slots=True)
class Control:
    """What people decided about an upload. `priority` None: as its requests say; `max_calls` None: no cap."""

    is_opened: bool = False
    is_started: bool = False
    priority: int | None = None
    max_calls: int | None = None
    paused: bool = False
    withdrawn: bool = False


class Fold:
    """The same records give the same state, whatever the order between topics in which they are read.

    `graves` are the request keys that are settled while no tombstone of them was read: the active gate writes those.
    `orphans` are phones whose upload withdrew after calls had been paid: they are yet to be accounted for.
    `last_status` is the last record of `lookup-status` as it was read: decoding each would cost more than all else.
    """

    def __init__(self) -> None:
        self.queue = Queue()
        self.recent = RecentResults()
        self.histories: dict[str, History] = {}
        self.graves: dict[str, None] = {}
        self.orphans: dict[str, None] = {}
        self.paused = False
        self.folded_offset = 0
        self.is_sole_writer = False
        self.last_status: bytes | None = None
        self._controls: dict[str, Control] = {}

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
            event = decode_one_of(UPLOAD_EVENT, record.value, what="upload event")
            self._apply_event(event)
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
            self.paused = decode(LookupCommand, record.value).paused
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

    def is_withdrawn(self, upload_id: str) -> bool:
        control = self._controls.get(upload_id)
        return control is not None and control.withdrawn

    def max_calls(self, upload_id: str) -> int | None:
        """The cap on the calls that the upload may pay for; None: there is none."""
        control = self._controls.get(upload_id)
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
        request = decode(LookupRequest, record.value)
        control = self._controls.get(request.upload_id)
        priority = request.priority if control is None or control.priority is None else control.priority
        paused = control is not None and control.paused
        is_new = self.queue.entry(request.phone) is None
        entry = self.queue.want(request, offset=record.offset, priority=priority, paused=paused)
        asks = [ask for ask in entry.asks if ask.upload_id == request.upload_id and ask.round == request.round]
        withdrawn = control is not None and control.withdrawn
        if withdrawn or any(self.recent.answers(request.phone, ask.want) for ask in asks):
            self._end(entry, asks)
        elif is_new and request.phone in self.histories:
            self.orphans.pop(request.phone, None)
            self._go_on(entry)

    def _apply_tombstone(self, key: str) -> None:
        parts = key.rsplit(":", 2)
        if len(parts) != 3:
            raise UndecodableRecord("the key of a request is `phone:upload:round`")
        phone, upload_id, round_ = parts
        entry = self.queue.entry(phone)
        if entry is not None:
            self._end(entry, [ask for ask in entry.asks if ask.upload_id == upload_id and str(ask.round) == round_])
        self.graves.pop(key, None)

    def _apply_retry(self, record: LogRecord) -> None:
        if self.is_sole_writer:
            return
        if record.value is None:
            self.histories.pop(record.key, None)
            return
        retry = decode(LookupRetry, record.value)
        self.histories[retry.phone] = History.of(retry)
        entry = self.queue.entry(retry.phone)
        if entry is not None:
            self._go_on(entry)

    def _apply_event(self, event: UploadEvent) -> None:
        control = self._controls.setdefault(event.upload_id, Control())
        if isinstance(event, UploadOpened):
            if not control.is_opened:
                control.is_opened = True
                control.is_started = event.options.start
                control.max_calls = event.options.max_calls
                self._set_priority(event.upload_id, control, event.options.priority)
        elif isinstance(event, StartUpload):
            if not control.is_started:
                control.is_started = True
                control.max_calls = control.max_calls if event.max_calls is None else event.max_calls
        elif isinstance(event, SetPriority):
            self._set_priority(event.upload_id, control, event.priority)
        elif isinstance(event, SetOptions):
            if not control.is_started:
                control.max_calls = event.options.max_calls
            self._set_priority(event.upload_id, control, event.options.priority)
        elif isinstance(event, PauseUpload | ResumeUpload):
            control.paused = isinstance(event, PauseUpload)
            # What is withdrawn may still be on its way out, and gets no turn meanwhile.
            if not control.withdrawn:
                self.queue.set_paused(event.upload_id, control.paused)
        elif isinstance(event, CancelUpload | DeleteUpload):
            control.withdrawn = True

    def _apply_result(self, record: LogRecord) -> None:
        if record.value is None:
            phone, _, failed = record.key.partition("|")
            self.recent.erase(phone, failures=bool(failed))
            return
        self.settle(decode(LookupResult, record.value), record.timestamp_ms)

    def _set_priority(self, upload_id: str, control: Control, priority: int) -> None:
        control.priority = priority
        self.queue.set_priority(upload_id, priority)

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
            self.queue.back_off(entry, retry_at)

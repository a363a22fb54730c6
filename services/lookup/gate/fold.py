"""Owns the gate's state as a fold of the log: requests, retries, recent results and commands. Pure."""

from collections.abc import Callable, Collection, Iterator
from datetime import datetime, timedelta
from typing import Final

from schemas import topics
from schemas.codec import UndecodableRecord, decode, decode_one_of
from schemas.lookups import LookupCommand, LookupRequest, LookupResult, LookupRetry, parse_request_key, parse_result_key
from schemas.upload_events import UPLOAD_EVENT, CancelUpload, DeleteUpload
from schemas.values import EARLIEST
from services.lookup.gate.commands import apply_event
from services.lookup.gate.controls import DAY_MS, HOUR_MS, UploadControls
from services.lookup.gate.lanes import Ask, Entry, EntryState
from services.lookup.gate.log_record import LogRecord
from services.lookup.gate.pending_tombstones import PendingTombstones
from services.lookup.gate.phone_histories import Orphan, PhoneHistories
from services.lookup.gate.queue import LookupQueue
from services.lookup.gate.recent_results import RecentResults
from services.lookup.gate.retries import History

_LONGEST_BACKOFF: Final = timedelta(milliseconds=HOUR_MS)


class Fold:
    """The same records give the same state, in whatever order the topics are read.

    - `histories`: the attempts of the phones that have failed.
    - `pending_tombstones`: the requests that are done and whose tombstone was not read yet.
    - `erased_in_call`: phones whose data was erased while they were being called.
    - `last_status`: the last record of `lookup-status`, not decoded. Decoding each one would cost more than all else.

    Each part is changed by its own methods only. Nothing else reaches into it.
    `to_steady` converts a time from a record into the time of the clock that measures backoffs.
    """

    def __init__(
        self, *, keep_days: int = 30, to_steady: Callable[[datetime], datetime] = lambda moment: moment
    ) -> None:
        self.queue = LookupQueue()
        self.recent = RecentResults()
        self.controls = UploadControls(keep_ms=keep_days * DAY_MS)
        self.histories = PhoneHistories()
        self.pending_tombstones = PendingTombstones()
        self.paused = False
        self.folded_offset = 0
        self.is_sole_writer = False
        self.last_status: bytes | None = None
        self._erased_in_call: set[str] = set()
        self._to_steady = to_steady

    @property
    def erased_in_call(self) -> Collection[str]:
        return self._erased_in_call

    def max_calls(self, upload_id: str) -> int | None:
        """How many calls the upload may pay for. None: there is no limit."""
        control = self.controls.get(upload_id)
        return None if control is None else control.max_calls

    # -- records of the log

    def apply(self, record: LogRecord) -> None:
        """Applies one record.

        Raises:
            UndecodableRecord: the value is not what its topic promises. The state is as before.
        """
        for _ in self.steps(record):
            pass

    def steps(self, record: LogRecord) -> Iterator[None]:
        """Applies one record step by step. Between two steps the fold may be used as usual.

        Only the end of a large upload takes more than one step. Raises as `apply`.
        """
        if record.topic is topics.UPLOAD_EVENTS:
            event = decode_one_of(UPLOAD_EVENT, record.value, what="upload event", timestamp_ms=record.timestamp_ms)
            apply_event(event, self.controls, self.queue, timestamp_ms=record.timestamp_ms)
            if isinstance(event, CancelUpload | DeleteUpload):
                yield from self._drop(event.upload_id)
        else:
            self._apply(record)

    def apply_result(self, result: LookupResult, timestamp_ms: int) -> None:
        """Ends the requests that a result on the log answers."""
        self.recent.remember(result, timestamp_ms)
        entry = self.queue.entry(result.phone)
        if entry is None:
            return
        self._end(entry, [ask for ask in entry.asks if self.recent.answers(result.phone, ask.want)])

    def end_next_upload(self, now_ms: int) -> Iterator[str]:
        """Ends one upload that is over, step by step, and yields its id at each step. Yields nothing if there is none.

        Call it only after the log was read to its end: the opening of an upload may come after its requests.
        """
        upload_id = self.controls.next_over(now_ms)
        if upload_id is not None:
            yield upload_id
            for _ in self._drop(upload_id):
                yield upload_id

    # -- the active gate

    def take_over(self) -> None:
        """From now on only this process writes retries and tombstones: the records it reads back are its own."""
        self.is_sole_writer = True
        for phone in self.histories:
            if self.queue.entry(phone) is None:
                self.histories.unwanted(phone)

    def stand_by(self) -> None:
        """Another process writes retries and tombstones from now on."""
        self.is_sole_writer = False

    def back_off(self, entry: Entry, history: History) -> None:
        """The phone has failed. Keeps its history and calls it again after `history.retry_at`."""
        assert history.retry_at is not None, "only a phone that is tried again backs off"
        self.histories.remember(entry.phone, history)
        self.queue.back_off(entry, self._to_steady(history.retry_at))

    def release(self, entry: Entry) -> None:
        """The call is over without a result: the phone waits again if an upload still wants it."""
        self._erased_in_call.discard(entry.phone)
        self.queue.release(entry)

    def finish_call(self, phone: str) -> bool:
        """The call is over and its results are on the log: a phone that an upload still wants waits again.

        Returns whether the phone's data was erased meanwhile. Then the results have to be erased as well.
        """
        entry = self.queue.entry(phone)
        if entry is not None and entry.state is EntryState.CALLED:
            self.queue.release(entry)
        is_erased = phone in self._erased_in_call
        self._erased_in_call.discard(phone)
        return is_erased

    def take_orphan(self) -> Orphan | None:
        """Takes out one orphan and ends its attempts. None: there are no more of them."""
        return self.histories.take_orphan(lambda phone: self.queue.entry(phone) is not None)

    def is_accounted(self, phone: str, history: History) -> bool:
        """Whether a result was written after the last failure in `history`: it holds the calls that were paid."""
        since = history.last_error_at
        return since is None or any(known.looked_up_at >= since for known in self.recent.of(phone))

    # -- inside

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
        elif record.value is None:
            self._apply_erasure(record)
        else:
            result = decode(LookupResult, record.value, timestamp_ms=record.timestamp_ms)
            self.apply_result(result, record.timestamp_ms)

    def _apply_request(self, record: LogRecord) -> None:
        if record.value is None:
            self._apply_tombstone(record.key)
            return
        request = decode(LookupRequest, record.value, timestamp_ms=record.timestamp_ms)
        if record.key != request.key:
            # Its tombstone would have another key, so the request would come back at every start.
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
        self._erased_in_call.discard(request.phone)
        if is_new and request.phone in self.histories:
            self.histories.wanted(request.phone)
            self._resume_backoff(entry)

    def _apply_tombstone(self, key: str) -> None:
        parsed = parse_request_key(key)
        if parsed is None:
            raise UndecodableRecord("the key of a request is `phone:upload:round`")
        entry, lane = self.queue.entry(parsed.phone), self.queue.lane(parsed.upload_id)
        if entry is not None and lane is not None:
            self._end(entry, [ask for ask in entry.of(lane) if ask.round == parsed.round])
        self.pending_tombstones.discard(key)

    def _apply_retry(self, record: LogRecord) -> None:
        if self.is_sole_writer:
            return
        if record.value is None:
            self.histories.end(record.key)
            return
        retry = decode(LookupRetry, record.value, timestamp_ms=record.timestamp_ms)
        if record.key != retry.phone:
            raise UndecodableRecord("the key is not the phone of the retry")
        # The clock of the writer may be wrong: no backoff lasts longer than this after its record was written.
        latest = EARLIEST + timedelta(milliseconds=max(0, record.timestamp_ms)) + _LONGEST_BACKOFF
        self.histories.remember(retry.phone, History.of(retry).until(min(retry.retry_at, latest)))
        entry = self.queue.entry(retry.phone)
        if entry is not None:
            self._resume_backoff(entry)

    def _apply_erasure(self, record: LogRecord) -> None:
        """Erases a phone's failures, or all that is known of the phone together with the requests that wait for it.

        A request that was made after the erasure stays and is called. Calls of before are not accounted for any more.
        """
        about = parse_result_key(record.key)
        if about is None:
            raise UndecodableRecord("the key of a result is its phone, or `phone|failed`")
        phone = about.phone
        self.recent.erase(phone, failures=about.is_failure, at_ms=record.timestamp_ms)
        if about.is_failure:
            return
        self.histories.erase(phone)
        entry = self.queue.entry(phone)
        if entry is None:
            return
        erased_at = EARLIEST + timedelta(milliseconds=max(0, record.timestamp_ms))
        self._end(entry, [ask for ask in entry.asks if ask.wanted_at <= erased_at])
        if entry.state is EntryState.CALLED and not entry.is_wanted:
            self._erased_in_call.add(phone)

    def _drop(self, upload_id: str) -> Iterator[None]:
        for dropped in self.queue.drop_lane(upload_id):
            for entry, ask in dropped:
                self.pending_tombstones.add(ask.key(entry.phone))
                self._note_orphan(entry)
            yield

    def _end(self, entry: Entry, asks: list[Ask]) -> None:
        for ask in asks:
            self.pending_tombstones.add(ask.key(entry.phone))
        self.queue.withdraw(entry, asks)
        self._note_orphan(entry)

    def _note_orphan(self, entry: Entry) -> None:
        if entry.state is EntryState.DONE:
            self.histories.unwanted(entry.phone)

    def _resume_backoff(self, entry: Entry) -> None:
        """The phone has failed before and keeps its backoff. A call that this process is making ends by itself."""
        retry_at = self.histories[entry.phone].retry_at
        if retry_at is not None and entry.state is not EntryState.CALLED:
            self.queue.back_off(entry, self._to_steady(retry_at))

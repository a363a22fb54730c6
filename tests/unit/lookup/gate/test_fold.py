"""The gate's state is a fold of the log: the same records, in any order between topics, give the same backlog."""

from datetime import datetime, timedelta
from itertools import count, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import topics
from schemas.base import Message
from schemas.codec import UndecodableRecord, encode
from schemas.lookups import (
    Answered,
    AttemptError,
    LookupCommand,
    LookupRequest,
    LookupResult,
    LookupRetry,
    Outcome,
    PaidCalls,
    request_key,
)
from schemas.topics import Topic
from schemas.upload_events import (
    CancelUpload,
    DeleteUpload,
    PauseUpload,
    ResumeUpload,
    SetOptions,
    SetPriority,
    StartUpload,
    UploadEventBase,
    UploadOpened,
)
from schemas.uploads import UploadOptions
from services.lookup.gate.fold import Fold
from services.lookup.gate.lanes import EntryState
from services.lookup.gate.log_record import LogRecord
from services.lookup.gate.queue import DROPPED_AT_ONCE
from services.lookup.gate.recent_results import KEPT_MS
from tests.unit.lookup.gate.requests import NOW, id_of, phone, request

NOW_MS = int(NOW.timestamp() * 1000)
_offsets = count()


def record(topic: Topic, key: str, message: Message | None, *, at_ms: int = NOW_MS) -> LogRecord:
    return LogRecord(topic, key, None if message is None else encode(message), next(_offsets), at_ms)


def wanted(message: LookupRequest, *, at_ms: int = NOW_MS) -> LogRecord:
    return record(topics.LOOKUP_REQUESTS, message.key, message, at_ms=at_ms)


def buried(number: int, upload_id: str, round_: int = 0) -> LogRecord:
    return record(topics.LOOKUP_REQUESTS, request_key(phone(number), id_of(upload_id), round_), None)


def event(message: UploadEventBase) -> LogRecord:
    return record(topics.UPLOAD_EVENTS, message.upload_id, message)


def opened(upload: str, priority: int = 3, *, at: datetime = NOW) -> LogRecord:
    options = UploadOptions(priority=priority)
    message = UploadOpened(upload_id=id_of(upload), at=at, name="x.csv", owner="owner-1", options=options)
    return record(topics.UPLOAD_EVENTS, message.upload_id, message, at_ms=int(at.timestamp() * 1000))


def result(
    number: int,
    *answers: tuple[str, int],
    outcome: Outcome = "ok",
    looked_up_at: datetime = NOW,
    at_ms: int = NOW_MS,
) -> LogRecord:
    message = LookupResult(
        phone=phone(number),
        outcome=outcome,
        provider="generic",
        looked_up_at=looked_up_at,
        attempts=1,
        answers=tuple(Answered(upload_id=id_of(upload_id), round=round_) for upload_id, round_ in answers),
    )
    return record(topics.LOOKUP_RESULTS, message.key, message, at_ms=at_ms)


def retry(number: int, *, attempts: int = 1, seconds: float = 30) -> LogRecord:
    error = AttemptError(error_class="wait", code="http_500", detail="status 500", at=NOW)
    message = LookupRetry(
        phone=phone(number),
        attempts=attempts,
        retry_at=NOW + timedelta(seconds=seconds),
        errors=(error,),
        calls=(PaidCalls(upload_id=id_of("u1"), calls=attempts),),
    )
    return record(topics.LOOKUP_RETRIES, message.phone, message)


def fold_of(*records: LogRecord) -> Fold:
    """What is folded when the uploads that tests speak of are opened, unless `records` open them later."""
    fold = Fold()
    own = {each.key for each in records if each.topic is topics.UPLOAD_EVENTS}
    for upload in ("u1", "u2", "u3", "u4"):
        if id_of(upload) not in own:
            fold.apply(opened(upload))
    for each in records:
        fold.apply(each)
    return fold


def backlog(fold: Fold) -> set[str]:
    """The request keys that still wait."""
    keys = set()
    for number in range(10):
        entry = fold.queue.entry(phone(number))
        keys |= {ask.key(entry.phone) for ask in entry.asks} if entry is not None else set()
    return keys


SOME_LOG: dict[str, list[LogRecord]] = {
    "requests": [
        *(wanted(request(number, "u1")) for number in range(4)),
        *(wanted(request(number, "u2")) for number in range(2, 6)),
        wanted(request(6, "u3")),
        buried(0, "u1"),
        wanted(request(7, "u4", wanted_at=NOW + timedelta(hours=2), max_age=timedelta(0))),
    ],
    "results": [
        result(1, ("u1", 0)),
        result(3, ("u2", 0), outcome="failed"),
        result(7, looked_up_at=NOW + timedelta(hours=1)),
    ],
    "events": [
        *(opened(upload) for upload in ("u1", "u2", "u3", "u4")),
        event(CancelUpload(upload_id=id_of("u3"), at=NOW)),
    ],
    "retries": [retry(4)],
}


@settings(deadline=None)
@given(data=st.data())
def test_the_order_between_topics_does_not_matter(data: st.DataObject) -> None:
    queues = {name: list(records) for name, records in SOME_LOG.items()}
    fold = Fold()
    while queues:
        name = data.draw(st.sampled_from(sorted(queues)))
        fold.apply(queues[name].pop(0))
        if not queues[name]:
            del queues[name]
    straight = fold_of(*(each for records in SOME_LOG.values() for each in records))
    assert backlog(fold) == backlog(straight)
    assert set(fold.pending_tombstones) == set(straight.pending_tombstones)
    assert fold.queue.total(EntryState.BACKOFF) == straight.queue.total(EntryState.BACKOFF) == 1


@settings(deadline=None)
@given(data=st.data())
def test_reading_records_again_changes_nothing(data: st.DataObject) -> None:
    everything = [each for records in SOME_LOG.values() for each in records]
    fold = fold_of(*everything)
    expected = backlog(fold)
    again = data.draw(st.lists(st.sampled_from([*SOME_LOG["results"], *SOME_LOG["events"], *SOME_LOG["retries"]])))
    for each in again:
        fold.apply(each)
    assert backlog(fold) == expected


def test_a_request_that_a_remembered_result_answers_is_only_buried() -> None:
    fold = fold_of(result(1, ("u1", 0)), wanted(request(1, "u2")))
    assert backlog(fold) == set()
    assert list(fold.pending_tombstones) == [request_key(phone(1), id_of("u2"), 0)]


def test_a_failure_is_no_answer_to_another_upload_or_a_later_round() -> None:
    failure = result(1, ("u1", 0), outcome="failed")
    fold = fold_of(failure, wanted(request(1, "u1")), wanted(request(1, "u2")), wanted(request(1, "u1", round_=1)))
    assert backlog(fold) == {request_key(phone(1), id_of("u2"), 0), request_key(phone(1), id_of("u1"), 1)}


def test_asking_anew_is_not_answered_by_what_is_older() -> None:
    anew = request(1, "u2", max_age=timedelta(0))
    fold = fold_of(result(1, ("u1", 0), looked_up_at=NOW - timedelta(seconds=1)), wanted(anew))
    assert backlog(fold) == {anew.key}


def test_results_are_forgotten_an_hour_of_log_time_later() -> None:
    later = result(2, ("u1", 0), at_ms=NOW_MS + KEPT_MS + 1)
    fold = fold_of(result(1, ("u1", 0)), later, wanted(request(1, "u2")))
    assert backlog(fold) == {request_key(phone(1), id_of("u2"), 0)}


def test_an_erased_result_answers_nobody() -> None:
    erased = record(topics.LOOKUP_RESULTS, phone(1), None)
    fold = fold_of(result(1, ("u1", 0)), erased, wanted(request(1, "u2"), at_ms=NOW_MS + 1))
    assert backlog(fold) == {request_key(phone(1), id_of("u2"), 0)}


def test_a_tombstone_ends_a_grave_and_a_request() -> None:
    fold = fold_of(wanted(request(1, "u1")), result(1, ("u1", 0)), buried(1, "u1"))
    assert backlog(fold) == set()
    assert not fold.pending_tombstones


@pytest.mark.parametrize("command", [CancelUpload, DeleteUpload])
def test_requests_of_a_withdrawn_upload_are_buried_before_and_after(command: type[CancelUpload]) -> None:
    fold = fold_of(wanted(request(1, "u1")), event(command(upload_id=id_of("u1"), at=NOW)), wanted(request(2, "u1")))
    assert backlog(fold) == set()
    assert set(fold.pending_tombstones) == {
        request_key(phone(1), id_of("u1"), 0),
        request_key(phone(2), id_of("u1"), 0),
    }


def test_a_priority_that_is_read_after_the_requests_applies_to_them_too() -> None:
    fold = fold_of(wanted(request(1, "u1", priority=3)), opened("u1", 2))
    lane = fold.queue.lane(id_of("u1"))
    assert lane is not None
    assert lane.priority == 2
    fold.apply(event(SetOptions(upload_id=id_of("u1"), at=NOW, options=UploadOptions(priority=5))))
    assert lane.priority == 5


def test_an_uploads_own_priority_outranks_that_of_its_requests() -> None:
    fold = fold_of(opened("u1", 2), wanted(request(1, "u1", priority=3)))
    lane = fold.queue.lane(id_of("u1"))
    assert lane is not None
    assert lane.priority == 2
    fold.apply(event(SetPriority(upload_id=id_of("u1"), at=NOW, priority=5)))
    assert lane.priority == 5
    fold.apply(opened("u1", 1))  # only the first opening counts
    assert lane.priority == 5


def test_pause_and_resume_before_and_after_the_first_request() -> None:
    fold = fold_of(opened("u1"), event(PauseUpload(upload_id=id_of("u1"), at=NOW)), wanted(request(1, "u1")))
    assert not fold.queue.has_callable
    fold.apply(event(ResumeUpload(upload_id=id_of("u1"), at=NOW)))
    assert fold.queue.has_callable


def test_the_command_to_pause_all_is_state() -> None:
    fold = fold_of(record(topics.LOOKUP_COMMANDS, "lookups", LookupCommand(paused=True, by="admin", at=NOW)))
    assert fold.paused
    fold.apply(record(topics.LOOKUP_COMMANDS, "lookups", LookupCommand(paused=False, by="admin", at=NOW)))
    assert not fold.paused


@pytest.mark.parametrize("retry_first", [True, False])
def test_a_backoff_outlives_its_gate(retry_first: bool) -> None:
    records = [retry(1, attempts=3), wanted(request(1, "u1"))]
    fold = fold_of(*(records if retry_first else reversed(records)))
    assert not fold.queue.has_callable
    assert fold.histories.of(phone(1)).attempts == 3
    fold.queue.advance(NOW + timedelta(seconds=30))
    assert fold.queue.has_callable


def test_a_retry_that_nobody_waits_for_is_accounted_for_by_the_next_gate() -> None:
    fold = fold_of(retry(1), wanted(request(2, "u1")), retry(2))
    fold.take_over()
    assert list(fold.histories.orphans) == [phone(1)]


@pytest.mark.parametrize(
    "broken",
    [
        LogRecord(topics.LOOKUP_REQUESTS, "x", b"{}", 0, 0),
        LogRecord(topics.LOOKUP_REQUESTS, "no-colons", None, 0, 0),
        LogRecord(topics.UPLOAD_EVENTS, "u1", b"not json", 0, 0),
        LogRecord(topics.UPLOAD_EVENTS, "u1", None, 0, 0),
        LogRecord(topics.LOOKUP_RESULTS, "x", b"\xff", 0, 0),
    ],
)
def test_what_cannot_be_read_is_refused_and_changes_nothing(broken: LogRecord) -> None:
    fold = fold_of(wanted(request(1, "u1")))
    with pytest.raises(UndecodableRecord):
        fold.apply(broken)
    assert backlog(fold) == {request_key(phone(1), id_of("u1"), 0)}


DAY = timedelta(days=1)


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def end_all(fold: Fold, now: datetime) -> set[str]:
    """Ends all uploads that are over."""
    ended: set[str] = set()
    while step := set(fold.end_next_upload(ms(now))):
        ended |= step
    return ended


HOSTILE_KEYS = ["", "::", "no-colons", f"{phone(1)}:{id_of('u1')}", f"{phone(1)}:{id_of('u1')}:x", "a:b:c", "\x00" * 9]


@pytest.mark.parametrize("key", [*HOSTILE_KEYS, f"{phone(1)}:{id_of('u1')}:{10**30}", f"{phone(1)}:{id_of('u1')}:00"])
def test_a_tombstone_with_a_key_that_was_never_made_is_refused(key: str) -> None:
    fold = fold_of(wanted(request(1, "u1")))
    with pytest.raises(UndecodableRecord):
        fold.apply(LogRecord(topics.LOOKUP_REQUESTS, key, None, 0, NOW_MS))
    assert backlog(fold) == {request(1, "u1").key}


def test_a_request_under_another_key_is_refused_for_no_tombstone_would_ever_end_it() -> None:
    fold = fold_of()
    with pytest.raises(UndecodableRecord):
        fold.apply(LogRecord(topics.LOOKUP_REQUESTS, request(2, "u1").key, encode(request(1, "u1")), 0, NOW_MS))
    with pytest.raises(UndecodableRecord):
        fold.apply(LogRecord(topics.LOOKUP_RETRIES, phone(2), retry(1).value, 0, NOW_MS))
    assert backlog(fold) == set()
    assert not fold.histories


@pytest.mark.parametrize("key", ["", "x", "|failed", f"{phone(1)}|", f"{phone(1)}|failed|failed", f"{phone(1)}\n"])
def test_an_erasure_under_a_strange_key_is_refused(key: str) -> None:
    fold = fold_of(wanted(request(1, "u1")))
    with pytest.raises(UndecodableRecord):
        fold.apply(LogRecord(topics.LOOKUP_RESULTS, key, None, 0, NOW_MS))
    assert backlog(fold) == {request(1, "u1").key}


def test_a_time_that_has_not_come_is_refused() -> None:
    late = request(1, "u1", wanted_at=NOW + timedelta(days=400))
    with pytest.raises(UndecodableRecord):
        fold_of(wanted(late))


def forgetting(number: int, *, at_ms: int = NOW_MS) -> LogRecord:
    return record(topics.LOOKUP_RESULTS, phone(number), None, at_ms=at_ms)


def test_a_forgotten_phone_is_taken_out_of_the_queue_for_everybody() -> None:
    fold = fold_of(wanted(request(1, "u1")), wanted(request(1, "u2")), wanted(request(2, "u1")), retry(1))
    fold.apply(forgetting(1))
    assert backlog(fold) == {request(2, "u1").key}
    assert set(fold.pending_tombstones) == {request(1, "u1").key, request(1, "u2").key}
    assert phone(1) not in fold.histories
    assert list(fold.histories.erased) == [phone(1)]


def test_a_forgotten_failure_leaves_the_queue_as_it_is() -> None:
    fold = fold_of(wanted(request(1, "u1")), retry(1))
    fold.apply(record(topics.LOOKUP_RESULTS, f"{phone(1)}|failed", None))
    assert backlog(fold) == {request(1, "u1").key}
    assert phone(1) in fold.histories


@pytest.mark.parametrize("forgotten_first", [True, False])
def test_who_asks_after_the_forgetting_means_it(forgotten_first: bool) -> None:
    later = request(1, "u2", wanted_at=NOW + timedelta(minutes=1))
    records = [forgetting(1), wanted(later, at_ms=NOW_MS + 60_000)]
    fold = fold_of(wanted(request(1, "u1")), *(records if forgotten_first else reversed(records)))
    assert backlog(fold) == {later.key}


def test_a_request_from_before_the_forgetting_that_is_read_after_it_is_settled() -> None:
    fold = fold_of(forgetting(1, at_ms=NOW_MS + 5), wanted(request(1, "u1")))
    assert backlog(fold) == set()
    assert list(fold.pending_tombstones) == [request(1, "u1").key]


def test_an_upload_that_nobody_opened_has_no_turn() -> None:
    fold = Fold()
    fold.apply(wanted(request(1, "never")))
    assert not fold.queue.has_callable
    fold.apply(opened("never"))
    assert fold.queue.has_callable


def test_requests_whose_upload_is_not_in_the_log_any_more_are_settled_and_never_called() -> None:
    """A pause that expired: the requests are compacted and stay, the events are gone."""
    fold = Fold(keep_days=30)
    fold.apply(wanted(request(1, "gone")))
    fold.apply(opened("here", at=NOW + 31 * DAY))
    assert not fold.queue.has_callable
    assert end_all(fold, NOW + 31 * DAY) == {id_of("gone")}
    assert backlog(fold) == set()
    assert list(fold.pending_tombstones) == [request(1, "gone").key]


@pytest.mark.parametrize("command", [PauseUpload, ResumeUpload, CancelUpload])
def test_an_upload_is_over_when_its_opening_expires_whatever_came_later(command: type[PauseUpload]) -> None:
    fold = fold_of(opened("u1"), opened("u2", at=NOW + 10 * DAY), wanted(request(1, "u1")), wanted(request(1, "u2")))
    later = NOW + 20 * DAY
    fold.apply(record(topics.UPLOAD_EVENTS, id_of("u1"), command(upload_id=id_of("u1"), at=later), at_ms=ms(later)))
    assert end_all(fold, NOW + 29 * DAY) == set()
    fold.apply(opened("newer", at=NOW + 30 * DAY))
    assert id_of("u1") in end_all(fold, NOW + 30 * DAY)
    assert backlog(fold) == {request(1, "u2").key}
    assert request(1, "u1").key in fold.pending_tombstones
    assert fold.queue.has_callable


def test_a_clock_that_is_wrong_against_the_log_ends_no_upload() -> None:
    fold = fold_of(wanted(request(1, "u1")))
    assert end_all(fold, NOW + 4_000 * DAY) == set()
    assert backlog(fold) == {request(1, "u1").key}


def test_an_upload_that_is_over_is_ended_in_steps() -> None:
    fold = fold_of(*(wanted(request(number, "u1")) for number in range(1_000)))
    fold.apply(opened("newer", at=NOW + 30 * DAY))
    pending_tombstones = [0]
    while step := [len(fold.pending_tombstones) for _ in fold.end_next_upload(ms(NOW + 30 * DAY))]:
        pending_tombstones += step
    longest = max(later - earlier for earlier, later in pairwise(pending_tombstones))
    assert pending_tombstones[-1] == 1_000
    assert longest <= DROPPED_AT_ONCE


def test_a_backoff_ends_an_hour_after_it_was_written_at_the_latest() -> None:
    fold = fold_of(retry(1, seconds=20 * 3600), wanted(request(1, "u1")))
    fold.queue.advance(NOW + timedelta(hours=1))
    assert fold.queue.has_callable


def test_a_failure_answers_up_to_the_latest_round_that_it_names() -> None:
    asks = [request(1, "u1", round_=round_) for round_ in (1, 2, 3)]
    twice = result(1, ("u1", 2), ("u1", 0), outcome="failed")
    fold = fold_of(*(wanted(each) for each in asks), twice)
    assert backlog(fold) == {asks[2].key}


def test_results_are_kept_for_an_hour_of_log_time_and_none_twice() -> None:
    first = result(1, ("u1", 0))
    fold = fold_of(first, first, result(2, ("u1", 0), at_ms=NOW_MS + KEPT_MS), wanted(request(1, "u2")))
    assert backlog(fold) == set()
    assert len(list(fold.recent.of(phone(1)))) == 1
    assert len(fold.recent) == 2
    fold.apply(result(3, ("u1", 0), at_ms=NOW_MS + KEPT_MS + 1))
    assert len(fold.recent) == 2


def test_one_of_a_phones_results_is_forgotten_while_a_later_one_is_kept() -> None:
    later = result(1, ("u2", 0), outcome="failed", at_ms=NOW_MS + 10)
    fold = fold_of(result(1, ("u1", 0)), later, result(2, ("u1", 0), at_ms=NOW_MS + KEPT_MS + 5))
    assert [known.outcome for known in fold.recent.of(phone(1))] == ["failed"]


def test_an_erased_failure_leaves_the_phones_data_and_no_failure() -> None:
    failure = result(1, ("u1", 0), outcome="failed")
    erased = record(topics.LOOKUP_RESULTS, f"{phone(1)}|failed", None)
    fold = fold_of(result(1), failure, erased)
    assert [known.outcome for known in fold.recent.of(phone(1))] == ["ok"]


def test_a_forgetting_is_remembered_for_an_hour_of_log_time() -> None:
    old = request(1, "u1")
    for after_ms, waits in ((KEPT_MS, False), (KEPT_MS + 1, True)):
        later = result(2, at_ms=NOW_MS + after_ms)
        fold = fold_of(forgetting(3, at_ms=NOW_MS), forgetting(1), later, wanted(old, at_ms=NOW_MS))
        assert (backlog(fold) == {old.key}) is waits


def test_a_retry_that_ended_is_forgotten_by_a_gate_that_stands_by_and_its_own_are_not_read_back() -> None:
    fold = fold_of(retry(1), retry(2))
    fold.apply(record(topics.LOOKUP_RETRIES, phone(1), None))
    assert list(fold.histories) == [phone(2)]
    fold.take_over()
    fold.apply(record(topics.LOOKUP_RETRIES, phone(2), None))
    fold.apply(retry(3))
    assert list(fold.histories) == [phone(2)]
    fold.stand_by()
    fold.apply(retry(3))
    assert list(fold.histories) == [phone(2), phone(3)]


def test_calls_are_accounted_for_by_a_result_that_is_no_older_than_the_last_failure() -> None:
    """The failure of `retry` was at `NOW`."""

    def is_accounted(fold: Fold) -> bool:
        return fold.is_accounted(phone(1), fold.histories.of(phone(1)))

    assert is_accounted(fold_of())
    assert not is_accounted(fold_of(retry(1)))
    for seconds, expected in ((-1, False), (0, True), (1, True)):
        at = NOW + timedelta(seconds=seconds)
        assert is_accounted(fold_of(retry(1), result(1, looked_up_at=at))) is expected


def test_a_phone_that_is_wanted_again_is_no_orphan_and_keeps_its_backoff() -> None:
    fold = fold_of(wanted(request(1, "u1")), retry(1), event(CancelUpload(upload_id=id_of("u1"), at=NOW)))
    assert list(fold.histories.orphans) == [phone(1)]
    fold.apply(wanted(request(1, "u2")))
    assert not fold.histories.orphans
    assert fold.queue.total(EntryState.BACKOFF) == 1


def test_a_tombstone_ends_one_round_of_one_upload() -> None:
    fold = fold_of(wanted(request(1, "u1")), wanted(request(1, "u1", round_=1)), wanted(request(1, "u2")))
    fold.apply(buried(1, "u1"))
    assert backlog(fold) == {request(1, "u1", round_=1).key, request(1, "u2").key}
    assert not fold.pending_tombstones


def test_only_the_first_opening_and_the_first_start_say_what_an_upload_may_cost() -> None:
    def opening(max_calls: int | None, *, start: bool) -> LogRecord:
        options = UploadOptions(max_calls=max_calls, start=start)
        return event(UploadOpened(upload_id=id_of("u1"), at=NOW, name="x.csv", owner="owner-1", options=options))

    fold = fold_of(opening(5, start=False))
    assert fold.max_calls(id_of("u1")) == 5
    fold.apply(opening(6, start=False))
    assert fold.max_calls(id_of("u1")) == 5
    fold.apply(event(SetOptions(upload_id=id_of("u1"), at=NOW, options=UploadOptions(max_calls=7, priority=1))))
    assert fold.max_calls(id_of("u1")) == 7
    fold.apply(event(StartUpload(upload_id=id_of("u1"), at=NOW)))
    assert fold.max_calls(id_of("u1")) == 7
    fold.apply(event(StartUpload(upload_id=id_of("u1"), at=NOW, max_calls=8)))
    fold.apply(event(SetOptions(upload_id=id_of("u1"), at=NOW, options=UploadOptions(max_calls=9, priority=2))))
    assert fold.max_calls(id_of("u1")) == 7
    fold.apply(wanted(request(1, "u1")))
    lane = fold.queue.lane(id_of("u1"))
    assert lane is not None
    assert lane.priority == 2
    assert (
        fold_of(opening(5, start=False), event(StartUpload(upload_id=id_of("u1"), at=NOW, max_calls=8))).max_calls(
            id_of("u1")
        )
        == 8
    )
    assert fold.max_calls(id_of("nobody")) is None


def test_a_pause_of_what_was_withdrawn_gives_it_no_turn() -> None:
    fold = fold_of(opened("u1"), *(wanted(request(number, "u1")) for number in range(2 * DROPPED_AT_ONCE)))
    ending = fold.steps(event(CancelUpload(upload_id=id_of("u1"), at=NOW)))
    next(ending)
    fold.apply(event(ResumeUpload(upload_id=id_of("u1"), at=NOW)))
    assert not fold.queue.has_callable


def test_an_upload_that_was_never_opened_is_awaited_for_a_day() -> None:
    fold = Fold()
    fold.apply(wanted(request(1, "never")))
    fold.apply(opened("other", at=NOW + 3 * DAY))
    assert end_all(fold, NOW + DAY - timedelta(seconds=1)) == set()
    assert end_all(fold, NOW + DAY) == {id_of("never")}


def test_the_clock_may_be_a_day_ahead_of_the_log_and_no_further() -> None:
    fold = fold_of(opened("u1"), wanted(request(1, "u1")), opened("u2", at=NOW + 29 * DAY))
    assert end_all(fold, NOW + 30 * DAY - timedelta(seconds=1)) == set()
    assert end_all(fold, NOW + 300 * DAY) == {id_of(upload) for upload in ("u1", "u3", "u4")}


def test_an_event_without_a_time_is_of_the_time_that_it_says_itself() -> None:
    options = UploadOptions()
    message = UploadOpened(upload_id=id_of("u1"), at=NOW, name="x.csv", owner="owner-1", options=options)
    fold = Fold()
    fold.apply(record(topics.UPLOAD_EVENTS, message.upload_id, message, at_ms=-1))
    fold.apply(opened("u2", at=NOW + 30 * DAY))
    assert end_all(fold, NOW + 30 * DAY - timedelta(seconds=1)) == set()
    assert end_all(fold, NOW + 30 * DAY) == {id_of("u1")}


def test_the_end_of_a_retry_that_is_not_known_changes_nothing() -> None:
    fold = fold_of(retry(2))
    fold.apply(record(topics.LOOKUP_RETRIES, phone(1), None))
    assert list(fold.histories) == [phone(2)]


def test_a_result_of_a_time_that_has_not_come_is_refused() -> None:
    with pytest.raises(UndecodableRecord):
        fold_of(result(1, ("u1", 0), looked_up_at=NOW + 400 * DAY))

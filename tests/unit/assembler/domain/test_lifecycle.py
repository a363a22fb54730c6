"""What an upload's events mean: which of them count, and where they leave the upload."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from schemas.upload_events import (
    CancelUpload,
    DeleteUpload,
    DismissFailed,
    Failures,
    PauseUpload,
    ResumeUpload,
    RetryFailed,
    SetOptions,
    SetPriority,
    StartUpload,
    UploadChecked,
    UploadChecking,
    UploadEvent,
    UploadFed,
    UploadOpened,
    UploadRefused,
)
from schemas.uploads import Detected, FileCounts, FileLocation, Preview, UploadOptions, UploadState
from schemas.values import LONGEST_MAX_AGE_SECONDS
from services.assembler.domain.answers import PartialRound
from services.assembler.domain.lifecycle import NEVER, Announced, derived_state, fold, want_of
from services.assembler.domain.stored import StoredUpload
from services.assembler.domain.stored_numbers import EPOCH
from tests.fixtures.ids import upload_id
from tests.unit.assembler.join.join_log import START, Log, Reader
from tests.unit.assembler.join.test_joining import World

U = upload_id("upload-1")
DAY = 86_400


@pytest.fixture(scope="module")
def opened() -> StoredUpload:
    world = World(Reader(Log()))
    world.open(U)
    world.reader.read_all()
    return world.reader.upload(U)


def folded(record: StoredUpload, *events: UploadEvent, announced: Announced | None = None) -> StoredUpload:
    for event in events:
        record = fold(record, event, max_age_seconds=DAY, announced=announced)
    return record


def after(seconds: int) -> dict[str, object]:
    return {"upload_id": U, "at": START + timedelta(seconds=seconds), "by": "jane"}


def test_the_first_opening_of_an_id_counts(opened: StoredUpload) -> None:
    again = UploadOpened.model_validate(after(9) | {"name": "b.csv", "owner": "mallory"})
    assert folded(opened, again) == opened


def test_repeating_a_round_changes_nothing(opened: StoredUpload) -> None:
    first = RetryFailed.model_validate(after(9) | {"round": 1, "only": Failures(error_code="timeout")})
    retried = folded(opened, first)
    assert (retried.round, retried.full_round) == (1, 0)
    for again in (first, RetryFailed.model_validate(after(10) | {"round": 1})):
        assert folded(retried, again) == retried


@pytest.mark.parametrize(("stored", "state"), [(1, "in_progress"), (2, "completed"), (3, "completed")])
def test_it_is_complete_when_everything_fed_is_stored(opened: StoredUpload, stored: int, state: str) -> None:
    fed = folded(opened, UploadFed.model_validate(after(9) | {"rows": 2, "rejected": 0}))
    assert derived_state(replace(fed, answered=stored)).state == state


def done_at(record: StoredUpload, seconds: int) -> StoredUpload:
    """Everything was stored and answered by then."""
    fed = folded(record, UploadFed.model_validate(after(1) | {"rows": 2, "rejected": 0}))
    return replace(fed, answered=2, last_settled_at=START + timedelta(seconds=seconds))


@pytest.mark.parametrize(("cancelled", "state"), [(9, "cancelled"), (10, "completed"), (11, "completed")])
def test_a_cancellation_after_everything_was_done_stops_nothing(
    opened: StoredUpload, cancelled: int, state: str
) -> None:
    record = folded(done_at(opened, 10), CancelUpload.model_validate(after(cancelled)))
    assert derived_state(record).state == state
    waiting = replace(record, answered=1, waiting=1)
    assert derived_state(waiting).state == "cancelled"


@pytest.mark.parametrize("state", ["completed", "failed", "cancelled"])
def test_an_end_that_was_announced_stands(opened: StoredUpload, state: UploadState) -> None:
    announced = Announced(state, START + timedelta(seconds=20))
    record = folded(done_at(opened, 10), CancelUpload.model_validate(after(5)), announced=announced)
    assert derived_state(record, announced) == (state, announced.at)


def test_a_cancellation_that_crossed_the_end_takes_back_no_answer(opened: StoredUpload) -> None:
    announced = Announced("completed", START + timedelta(seconds=20))
    record = folded(done_at(opened, 20), CancelUpload.model_validate(after(5)), announced=announced)
    assert record.cancelled_at == announced.at
    at_once = replace(announced, state="cancelled")
    again = folded(opened, CancelUpload.model_validate(after(5)), announced=at_once)
    assert again.cancelled_at == START + timedelta(seconds=5), "it is the one that was announced"


def test_a_refusal_after_the_end_changes_nothing(opened: StoredUpload) -> None:
    announced = Announced("completed", START + timedelta(seconds=20))
    refused = UploadRefused.model_validate(after(30) | {"code": "x", "title": "No", "detail": "No."})
    record = done_at(opened, 20)
    assert folded(record, refused, announced=announced) == record
    assert folded(record, refused).refused is not None


def test_answers_of_any_age_are_accepted_from_1970_on(opened: StoredUpload) -> None:
    event = UploadOpened.model_validate(
        after(1) | {"at": EPOCH, "name": "a", "owner": "jane", "options": UploadOptions(max_age_seconds=DAY)}
    )
    blank = replace(opened, created_at=None, wanted_at=None, accept_since=None)
    assert folded(blank, event).accept_since == EPOCH
    old = replace(blank, options=f'{{"max_age_seconds": {10**14}}}', created_at=START)
    assert fold(old, event, max_age_seconds=10**14) == old


@pytest.fixture(scope="module")
def unopened(opened: StoredUpload) -> StoredUpload:
    """Rows of it came, or nothing but its name."""
    unknown = dict.fromkeys(
        ("created_at", "name", "owner", "operation", "file", "options", "wanted_at", "accept_since")
    )
    return replace(opened, **unknown, priority=3)  # type: ignore[arg-type]  # fields by name


def opening(**changes: object) -> UploadOpened:
    return UploadOpened.model_validate(after(1) | {"name": "a.csv", "owner": "joe"} | changes)


def test_an_upload_has_what_its_opening_says(unopened: StoredUpload) -> None:
    file = FileLocation(partition=1, first_offset=2, last_offset=3, chunks=2, attempt="a-1")
    options = UploadOptions(priority=1, start=False, region="US")
    event = opening(
        operation="reprocess", parent_id=upload_id("parent"), options=options, file=file, bytes=77, sha256="ab"
    )
    record = folded(unopened, event)
    assert (record.name, record.owner, record.operation) == ("a.csv", "joe", "reprocess")
    assert (record.created_at, record.wanted_at, record.parent_id) == (event.at, None, upload_id("parent"))
    assert (record.file_bytes, record.sha256, record.priority) == (77, "ab", 1)
    assert FileLocation.model_validate_json(record.file or "") == file
    assert UploadOptions.model_validate_json(record.options or "") == options


def test_the_columns_of_rows_that_have_no_file_are_those_of_their_opening(unopened: StoredUpload) -> None:
    record = folded(unopened, opening(operation="kafka", columns=("Name", "Phone")))
    assert record.file is None
    assert Detected.model_validate_json(record.detected or "") == Detected(format="kafka", columns=("Name", "Phone"))
    assert folded(unopened, opening(operation="kafka")).detected is None
    file = FileLocation(partition=1, first_offset=2, last_offset=3, chunks=2, attempt="a-1")
    assert folded(unopened, opening(columns=("Name",), file=file)).detected is None, "the check will say"


def checked(seconds: int, check_id: str, rows: int = 9) -> UploadChecked:
    return UploadChecked.model_validate(
        after(seconds)
        | {
            "check_id": check_id,
            "detected": Detected(format="csv"),
            "counts": FileCounts(rows=rows, with_phone=8, usable=7, split=2, distinct=5),
            "preview": Preview(problems={"no_phone": 1}),
            "options": UploadOptions(region="GB"),
        }
    )


def test_a_check_says_what_the_plan_rests_on(opened: StoredUpload) -> None:
    record = folded(replace(opened, plan_known=4), checked(2, "c-1"))
    figures = (record.plan_rows, record.plan_with_phone, record.plan_usable, record.plan_split, record.plan_distinct)
    assert (record.check_id, figures, record.plan_known) == ("c-1", (9, 8, 7, 2, 5), None)
    assert Detected.model_validate_json(record.detected or "") == Detected(format="csv")
    assert Preview.model_validate_json(record.preview or "") == Preview(problems={"no_phone": 1})
    assert UploadOptions.model_validate_json(record.options or "") == UploadOptions(region="GB")
    known = replace(record, plan_known=3)
    assert folded(known, checked(3, "c-1", rows=1)) == known, "the feeder crashed, and said it again"
    assert folded(known, checked(3, "c-2", rows=1)).plan_known is None


def test_other_options_make_the_plan_void_until_it_is_started(unopened: StoredUpload) -> None:
    record = folded(unopened, opening(options=UploadOptions(start=False)), checked(2, "c-1"))
    event = SetOptions.model_validate(after(3) | {"options": UploadOptions(start=False, region="FR")})
    void = folded(replace(record, plan_known=3), event)
    assert UploadOptions.model_validate_json(void.options or "").region == "FR"
    figures = (void.plan_rows, void.plan_with_phone, void.plan_usable, void.plan_split, void.plan_distinct)
    assert (void.check_id, void.detected, void.preview, void.plan_known, *figures) == (None,) * 9
    started = folded(record, StartUpload.model_validate(after(3)))
    assert folded(started, event) == started


def test_of_what_happens_once_the_first_time_counts(opened: StoredUpload) -> None:
    fed = {"rows": 2, "rejected": 0}
    record = folded(
        replace(opened, wanted_at=None, accept_since=None),
        UploadChecking.model_validate(after(2)),
        UploadFed.model_validate(after(3) | fed),
        StartUpload.model_validate(after(4)),
        CancelUpload.model_validate(after(5)),
        DeleteUpload.model_validate(after(6)),
    )
    times = (record.checking_at, record.fed_at, record.wanted_at, record.cancelled_at, record.deleted_at)
    assert times == tuple(START + timedelta(seconds=seconds) for seconds in range(2, 7))
    again = (
        UploadChecking.model_validate(after(12)),
        UploadFed.model_validate(after(13) | fed | {"rows": 7}),
        StartUpload.model_validate(after(14)),
        CancelUpload.model_validate(after(15)),
        DeleteUpload.model_validate(after(16)),
    )
    assert record.fed_rows == 2
    assert folded(record, *again) == record


def test_pause_and_priority_are_as_last_asked_for(opened: StoredUpload) -> None:
    paused = folded(
        opened, PauseUpload.model_validate(after(2)), SetPriority.model_validate(after(2) | {"priority": 5})
    )
    assert (paused.paused, paused.priority, derived_state(replace(paused, waiting=1)).state) == (True, 5, "paused")
    resumed = folded(paused, ResumeUpload.model_validate(after(3)))
    assert (resumed.paused, derived_state(replace(resumed, waiting=1)).state) == (False, "in_progress")


REFUSED = UploadRefused.model_validate(after(5) | {"code": "no-phones", "title": "No", "detail": "None there."})


def test_the_first_refusal_ends_the_upload_and_says_why(opened: StoredUpload) -> None:
    record = folded(opened, REFUSED)
    assert json.loads(record.refused or "") == {"code": "no-phones", "title": "No", "detail": "None there."}
    assert derived_state(record) == ("failed", REFUSED.at)
    for later in (REFUSED.model_copy(update={"code": "x"}), CancelUpload.model_validate(after(6))):
        assert folded(record, later) == record
    settled = replace(opened, last_settled_at=START + timedelta(seconds=50))
    assert derived_state(folded(settled, REFUSED)).finished_at == settled.last_settled_at


def test_what_ended_by_refusal_or_cancellation_is_not_retried(opened: StoredUpload) -> None:
    retry = RetryFailed.model_validate(after(9) | {"round": 1})
    for ended in (folded(opened, REFUSED), folded(opened, CancelUpload.model_validate(after(5)))):
        assert folded(ended, retry) == ended


def test_a_retry_opens_the_upload_again(opened: StoredUpload) -> None:
    done = replace(opened, finished_at=START)
    some = Failures(error_code="timeout", after=START, before=START + timedelta(days=1))
    first, second = ({"round": 1, "only": some}, {"round": 2, "but_not": (some,)})
    partly = folded(done, *(RetryFailed.model_validate(after(9) | which) for which in (first, second)))
    want = want_of(partly)
    assert want is not None
    assert (partly.round, partly.finished_at, want.round) == (2, None, 0)
    assert want.partial_rounds == (PartialRound(1, some), PartialRound(2, None, (some,)))
    whole = folded(replace(partly, finished_at=START), RetryFailed.model_validate(after(10) | {"round": 3}))
    want = want_of(whole)
    assert want is not None
    assert (whole.round, whole.finished_at, want.round, want.partial_rounds) == (3, None, 3, ())


def test_an_upload_asks_for_nothing_before_it_is_opened_and_after_it_was_deleted(
    opened: StoredUpload, unopened: StoredUpload
) -> None:
    assert want_of(unopened) is None
    assert want_of(folded(opened, DeleteUpload.model_validate(after(2)))) is None
    unstarted = want_of(folded(unopened, opening(options=UploadOptions(start=False))))
    assert unstarted is not None
    assert unstarted.accept_since == NEVER, "only what names it"
    want = want_of(folded(opened, CancelUpload.model_validate(after(2))))
    assert want is not None
    assert (want.upload_id, want.cancelled_at) == (U, START + timedelta(seconds=2))
    assert want.accept_since == opened.accept_since


@pytest.mark.parametrize(
    ("chosen", "default", "seconds"),
    [(None, 50, 50), (0, 50, 0), (70, 50, 70), (None, LONGEST_MAX_AGE_SECONDS + 9, LONGEST_MAX_AGE_SECONDS)],
)
def test_an_answer_may_be_as_old_as_the_upload_says_or_else_the_service(
    unopened: StoredUpload, chosen: int | None, default: int, seconds: int
) -> None:
    event = opening(options=UploadOptions(max_age_seconds=chosen, start=False))
    record = fold(unopened, event, max_age_seconds=default)
    started = fold(record, StartUpload.model_validate(after(9)), max_age_seconds=default)
    assert started.wanted_at is not None
    assert started.accept_since == max(EPOCH, started.wanted_at - timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "pending"),
        ({"checking_at": START}, "checking"),
        ({"check_id": "c"}, "checked"),
        ({"waiting": 1}, "checked"),
        ({"operation": "kafka"}, "checked"),
        ({"paused": True}, "pending"),
        ({"wanted_at": START}, "pending"),
        ({"wanted_at": START, "checking_at": START}, "checking"),
        ({"wanted_at": START, "check_id": "c"}, "in_progress"),
        ({"wanted_at": START, "operation": "kafka"}, "in_progress"),
        ({"wanted_at": START, "paused": True, "waiting": 1}, "paused"),
    ],
)
def test_an_upload_that_has_not_ended_is_as_far_as_it_was_read_and_started(
    unopened: StoredUpload, changes: dict[str, object], state: str
) -> None:
    # Fields by name.
    record = replace(folded(unopened, opening(options=UploadOptions(start=False))), **changes)  # type: ignore[arg-type]
    assert derived_state(record) == (state, None)


def test_a_cancelled_upload_ends_when_no_more_of_its_rows_can_come(opened: StoredUpload) -> None:
    cancelled = folded(opened, CancelUpload.model_validate(after(5)))
    assert derived_state(cancelled) == ("cancelled", None), "the feeder tells how many there are"
    fed = replace(cancelled, fed_at=START + timedelta(seconds=8), fed_rows=2, waiting=1)
    assert derived_state(fed) == ("cancelled", None)
    assert derived_state(replace(fed, waiting=2)) == ("cancelled", fed.fed_at)
    assert derived_state(replace(fed, rows_missing=True)) == ("cancelled", fed.fed_at)
    early = replace(fed, waiting=2, fed_at=START + timedelta(seconds=2))
    assert derived_state(early) == ("cancelled", early.cancelled_at)
    of_another_system = replace(cancelled, operation="kafka")
    assert derived_state(of_another_system) == ("cancelled", None)
    assert derived_state(replace(of_another_system, wanted_at=None)) == ("cancelled", cancelled.cancelled_at)
    assert derived_state(replace(cancelled, wanted_at=None)) == ("cancelled", None)


def test_an_upload_that_lacks_rows_for_good_has_failed(opened: StoredUpload) -> None:
    fed = replace(opened, fed_at=START + timedelta(seconds=8), fed_rows=2, answered=1, rows_missing=True)
    assert derived_state(fed) == ("failed", fed.fed_at)
    assert derived_state(replace(fed, answered=2)) == ("completed", fed.fed_at)


def test_taking_failures_off_the_list_changes_nothing_of_the_upload(opened: StoredUpload) -> None:
    assert folded(opened, DismissFailed.model_validate(after(2))) == opened


def test_no_upload_ends_before_it_began(opened: StoredUpload) -> None:
    """The clock of whoever says that it was fed may be behind."""
    fed = replace(opened, fed_at=START - timedelta(seconds=8), fed_rows=1, answered=1)
    assert derived_state(fed) == ("completed", opened.created_at)


def test_an_upload_of_which_only_rows_or_a_start_came_is_pending(unopened: StoredUpload) -> None:
    assert derived_state(unopened) == ("pending", None)
    started = folded(replace(unopened, options=None), StartUpload.model_validate(after(3)))
    assert started.accept_since == START + timedelta(seconds=3) - timedelta(seconds=DAY)
    assert want_of(started) is None

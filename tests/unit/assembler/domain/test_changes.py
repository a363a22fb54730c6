"""What a transaction counts of an upload: rows by state, verdicts, who paid for which call, which rows to show."""

from datetime import timedelta

from schemas.lookups import LookupResult, PaidCalls
from services.assembler.domain.answers import candidate_of
from services.assembler.domain.changes import LISTED_ROWS, Changes, UploadChanges, calls_and_retries
from services.assembler.domain.row_state import State
from tests.unit.assembler.join.join_log import PHONES, START, lookup_result

OK = lookup_result(PHONES[0], "ok", at=START)


def test_a_row_is_counted_in_the_state_that_it_came_to() -> None:
    changes = UploadChanges()
    changes.move(1, None, State.waiting)
    changes.move(2, None, State.waiting)
    changes.move(1, State.waiting, State.failed)
    changes.move(2, State.waiting, None)
    assert changes.states == [0, 0, 1, 0, 0]
    assert list(changes.rows) == [1, 2]


def test_of_very_many_rows_some_are_listed_and_it_is_said_that_there_are_more() -> None:
    changes = UploadChanges()
    for row in range(LISTED_ROWS):
        changes.move(row, None, State.waiting)
    changes.move(0, State.waiting, State.answered)
    assert (len(changes.rows), changes.more) == (LISTED_ROWS, False), "each was listed once"
    changes.move(LISTED_ROWS, None, State.waiting)
    assert (len(changes.rows), changes.more) == (LISTED_ROWS, True)


def test_verdicts_are_tallied_by_line_type_and_failures_are_not() -> None:
    changes = UploadChanges()
    not_valid = lookup_result(PHONES[0], "not_valid", at=START)
    failed = lookup_result(PHONES[0], "failed", at=START)
    for result, sign in ((OK, 1), (OK, 1), (OK, -1), (not_valid, 1), (failed, 1)):
        changes.tally(candidate_of(result, partition=0, offset=0), sign)
    assert changes.tallies == {("ok", "mobile"): 1, ("not_valid", "unknown"): 1}


def test_changes_are_kept_by_upload() -> None:
    changes = Changes()
    changes.of(1).calls += 2
    changes.of(1).calls += 3
    changes.of(2).calls += 1
    assert {number: of.calls for number, of in changes.by_upload.items()} == {1: 5, 2: 1}


def paid(*calls: tuple[str, int]) -> LookupResult:
    payers = tuple(PaidCalls.model_construct(upload_id=name, calls=count) for name, count in calls)
    return OK.model_copy(update={"calls": payers, "looked_up_at": START + timedelta(seconds=1)})


def test_the_first_call_for_a_phone_is_no_retry_whoever_paid_for_it() -> None:
    assert calls_and_retries([paid(("a", 1))]) == {"a": (1, 0)}
    assert calls_and_retries([paid(("a", 3), ("b", 2))]) == {"a": (3, 2), "b": (2, 2)}
    assert calls_and_retries([paid(("a", 0), ("b", 2))]) == {"a": (0, 0), "b": (2, 1)}
    assert calls_and_retries([paid(("a", 3)), paid(("b", 1), ("a", 2))]) == {"a": (5, 4), "b": (1, 0)}

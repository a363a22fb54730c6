"""What a row needs, against what is remembered of its phone."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from schemas.answers import Want, answers
from schemas.lookups import AttemptError, LookupResult, Outcome, PhoneData
from schemas.rows import UploadRow
from services.lookup.known import WantedRow, is_answered, requests_for, worth_remembering
from services.lookup.sent import SentKeys

START = datetime(2026, 1, 1, tzinfo=UTC)
PHONES = [f"+1415555{number:04d}" for number in range(100, 106)]
UPLOADS = ["upload-a", "upload-b"]


def a_row(
    phone: str = PHONES[0], *, upload_id: str = "upload-a", round_: int = 0, again: bool = False, hours: int = 0
) -> WantedRow:
    wanted_at = START + timedelta(hours=hours)
    return WantedRow(
        upload_id=upload_id,
        row=1,
        round=round_,
        phone=phone,
        owner="local",
        wanted_at=wanted_at,
        accept_since=wanted_at - timedelta(hours=2),
        again=again,
    )


rows = st.builds(
    a_row,
    st.sampled_from(PHONES),
    upload_id=st.sampled_from(UPLOADS),
    round_=st.integers(0, 1),
    again=st.booleans(),
    hours=st.integers(0, 5),
)
memories = st.dictionaries(st.sampled_from(PHONES), st.integers(-3, 5).map(lambda h: START + timedelta(hours=h)))


def test_an_unknown_phone_is_asked_for_once_however_often_it_comes() -> None:
    requests = requests_for([a_row(), a_row(), a_row()], looked_up_at={}, sent=SentKeys(10))
    assert [(request.phone, request.upload_id, request.round) for request in requests] == [(PHONES[0], "upload-a", 0)]


def test_a_fresh_answer_leaves_nothing_to_ask() -> None:
    assert requests_for([a_row()], looked_up_at={PHONES[0]: START}, sent=SentKeys(10)) == []


def test_an_answer_older_than_the_upload_accepts_is_asked_for_anew() -> None:
    stale = START - timedelta(hours=2, microseconds=1)
    assert len(requests_for([a_row()], looked_up_at={PHONES[0]: stale}, sent=SentKeys(10))) == 1


def test_a_key_already_sent_is_spared_unless_the_row_says_again() -> None:
    sent = SentKeys(10)
    sent.add([a_row().key])
    assert requests_for([a_row()], looked_up_at={}, sent=sent) == []
    assert len(requests_for([a_row(again=True)], looked_up_at={}, sent=sent)) == 1
    assert len(requests_for([a_row(round_=1)], looked_up_at={}, sent=sent)) == 1


def test_each_upload_asks_for_itself_so_that_each_can_be_cancelled_and_counted() -> None:
    requests = requests_for([a_row(upload_id=upload) for upload in UPLOADS], looked_up_at={}, sent=SentKeys(10))
    assert {request.upload_id for request in requests} == set(UPLOADS)


def test_a_request_carries_what_the_gate_orders_by() -> None:
    row = a_row(hours=3).model_copy(update={"owner": "jane", "priority": 1})
    (request,) = requests_for([row], looked_up_at={}, sent=SentKeys(10))
    assert (request.owner, request.priority, request.wanted_at, request.accept_since, request.key) == (
        "jane",
        1,
        row.wanted_at,
        row.accept_since,
        f"{row.phone}:upload-a:0",
    )


@given(st.lists(rows, max_size=30), memories)
def test_asked_are_exactly_the_distinct_keys_that_nothing_answers(
    read: Sequence[WantedRow], memory: dict[str, datetime]
) -> None:
    asked = [request.key for request in requests_for(read, looked_up_at=memory, sent=SentKeys(100))]
    unanswered = {row.key for row in read if not is_answered(row, memory.get(row.phone))}
    assert sorted(asked) == sorted(unanswered)


@given(rows, st.integers(-3, 5), st.sampled_from(["ok", "not_valid", "failed"]))
def test_what_is_remembered_answers_as_the_rule_of_the_schemas_does(
    row: WantedRow, hours: int, outcome: Outcome
) -> None:
    result = LookupResult(
        phone=row.phone,
        outcome=outcome,
        data=PhoneData() if outcome == "ok" else None,
        provider="generic",
        looked_up_at=START + timedelta(hours=hours),
        attempts=1,
        error=AttemptError(error_class="wait", code="timeout", detail="", at=START) if outcome == "failed" else None,
    )
    known = worth_remembering(result)
    want = Want(row.upload_id, row.round, row.accept_since)
    assert is_answered(row, known.looked_up_at if known else None) == answers(result, want)


def test_a_wanted_row_decodes_from_an_upload_row_and_has_only_its_fields() -> None:
    row = UploadRow(
        upload_id="upload-a", row=7, phone=PHONES[0], cells=("x",), owner="jane", wanted_at=START, accept_since=START
    )
    wanted = WantedRow.model_validate_json(row.model_dump_json())
    assert wanted.model_dump() == {name: getattr(row, name) for name in WantedRow.model_fields}


@given(st.lists(st.sampled_from("abcdefgh"), max_size=60), st.integers(1, 5))
def test_the_memory_of_sent_keys_holds_the_last_ones_and_stays_bounded(keys: list[str], limit: int) -> None:
    sent = SentKeys(limit)
    for key in keys:
        sent.add([key])
        assert len(sent) < 2 * limit + 1
    assert all(key in sent for key in keys[-limit:])
    assert all((key in sent) <= (key in keys) for key in "abcdefghi")

"""What a row needs, against what is known of its phone."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.answers import Want, answers
from schemas.codec import UndecodableRecord, encode
from services.lookup.worker.known_phones import KnownPhone, worth_remembering
from services.lookup.worker.request_policy import WantedRow, is_answered, requests_for, wanted_row
from services.lookup.worker.sent_keys import SentKeys
from tests.fixtures.ids import upload_id
from tests.unit.lookup.gate.requests import phone
from tests.unit.lookup.worker.worker_parts import NOW, a_result, at, ms
from tests.unit.lookup.worker.worker_parts import a_row as an_upload_row

PHONES = [phone(number) for number in range(6)]
UPLOADS = ["upload-a", "upload-b"]


def a_row(
    of: str = PHONES[0],
    *,
    upload: str = "upload-a",
    round_: int = 0,
    again: bool = False,
    hours: int = 0,
    published_at: datetime = NOW,
) -> WantedRow:
    wanted_at = NOW + timedelta(hours=hours)
    return WantedRow(
        phone=of,
        upload_id=upload_id(upload),
        round=round_,
        owner="local",
        priority=3,
        wanted_at=wanted_at,
        accept_since=wanted_at - timedelta(hours=2),
        again=again,
        published_ms=ms(published_at),
    )


def looked_up(hours: float = 0.0) -> KnownPhone:
    return KnownPhone(looked_up_at=NOW + timedelta(hours=hours), outcome="ok")


def failed(upload: str = "upload-a", round_: int = 0, *, seconds: float = 0.0) -> KnownPhone:
    known = worth_remembering(
        a_result(PHONES[0], outcome="failed", answers=[(upload, round_)]), recorded_ms=ms(at(seconds))
    )
    assert known is not None
    return known


rows = st.builds(
    a_row,
    st.sampled_from(PHONES),
    upload=st.sampled_from(UPLOADS),
    round_=st.integers(0, 1),
    again=st.booleans(),
    hours=st.integers(0, 5),
)
memories = st.dictionaries(
    st.sampled_from(PHONES),
    st.one_of(
        st.builds(looked_up, st.integers(-3, 5)),
        st.builds(failed, st.sampled_from(UPLOADS), st.integers(0, 1), seconds=st.integers(-1, 1)),
    ),
)


def test_an_unknown_phone_is_asked_for_once_however_often_it_comes() -> None:
    requests = requests_for([a_row(), a_row(), a_row()], known={}, sent=SentKeys(10))
    assert [(r.phone, r.upload_id, r.round) for r in requests] == [(PHONES[0], upload_id("upload-a"), 0)]


def test_a_fresh_answer_leaves_nothing_to_ask() -> None:
    assert requests_for([a_row()], known={PHONES[0]: looked_up()}, sent=SentKeys(10)) == []


def test_a_fresh_answer_leaves_nothing_to_ask_though_the_row_comes_again() -> None:
    row = a_row(again=True, published_at=at(3600))
    assert requests_for([row], known={PHONES[0]: looked_up()}, sent=SentKeys(10)) == []


def test_an_answer_older_than_the_upload_accepts_is_asked_for_anew() -> None:
    stale = KnownPhone(looked_up_at=NOW - timedelta(hours=2, microseconds=1), outcome="ok")
    assert len(requests_for([a_row()], known={PHONES[0]: stale}, sent=SentKeys(10))) == 1


def test_a_key_already_sent_is_spared_unless_the_row_says_again() -> None:
    sent = SentKeys(10)
    sent.add([a_row().key])
    assert requests_for([a_row()], known={}, sent=sent) == []
    assert len(requests_for([a_row(again=True)], known={}, sent=sent)) == 1
    assert len(requests_for([a_row(round_=1)], known={}, sent=sent)) == 1


def test_a_row_whose_request_failed_is_not_asked_for_again_when_a_feeder_or_a_worker_begins_anew() -> None:
    known = {PHONES[0]: failed("upload-a", 1)}
    fed_again = [a_row(round_=0, published_at=at(7200)), a_row(round_=1, published_at=at(7200))]
    assert requests_for(fed_again, known=known, sent=SentKeys(10)) == []


def test_a_failure_is_nobody_elses_and_not_of_a_later_round() -> None:
    known = {PHONES[0]: failed("upload-a", 1)}
    asking = [a_row(upload="upload-b"), a_row(round_=2)]
    assert len(requests_for(asking, known=known, sent=SentKeys(10))) == 2


def test_a_row_swept_after_its_failure_is_asked_for_and_the_same_row_read_once_more_is_not() -> None:
    """A sweep has joined the failure, so the row waits in spite of it; what comes of the request is newer than it."""
    swept = a_row(again=True, published_at=at(60))
    assert len(requests_for([swept], known={PHONES[0]: failed(seconds=0)}, sent=SentKeys(10))) == 1
    assert requests_for([swept], known={PHONES[0]: failed(seconds=90)}, sent=SentKeys(10)) == []


def test_each_upload_asks_for_itself_so_that_each_can_be_cancelled_and_counted() -> None:
    requests = requests_for([a_row(upload=upload) for upload in UPLOADS], known={}, sent=SentKeys(10))
    assert {request.upload_id for request in requests} == {upload_id(upload) for upload in UPLOADS}


def test_a_request_carries_what_the_gate_orders_by() -> None:
    row = a_row(hours=3)._replace(owner="jane", priority=1)
    (request,) = requests_for([row], known={}, sent=SentKeys(10))
    assert (request.owner, request.priority, request.wanted_at, request.accept_since, request.key) == (
        "jane",
        1,
        row.wanted_at,
        row.accept_since,
        f"{row.phone}:{upload_id('upload-a')}:0",
    )


@given(st.lists(rows, max_size=30), memories)
def test_asked_are_exactly_the_distinct_keys_that_nothing_answers(
    read: Sequence[WantedRow], memory: dict[str, KnownPhone]
) -> None:
    asked = [request.key for request in requests_for(read, known=memory, sent=SentKeys(100))]
    unanswered = {row.key for row in read if not is_answered(row, memory.get(row.phone))}
    assert sorted(asked) == sorted(unanswered)


@given(
    rows,
    st.integers(-3, 5),
    st.sampled_from(["ok", "not_valid", "failed"]),
    st.lists(st.tuples(st.sampled_from(UPLOADS), st.integers(0, 2)), max_size=3, unique_by=lambda named: named[0]),
)
def test_what_is_remembered_answers_as_the_rule_of_the_schemas_does(
    row: WantedRow, hours: int, outcome: str, named: list[tuple[str, int]]
) -> None:
    """Data names only uploads that wanted it before, as the gate's does."""
    result = a_result(
        row.phone,
        outcome=outcome,  # type: ignore[arg-type]  # Hypothesis draws plain strings
        looked_up_at=NOW + timedelta(hours=hours),
        answers=named if outcome == "failed" else (),
    )
    known = worth_remembering(result, recorded_ms=row.published_ms)
    want = Want(row.upload_id, row.round, row.accept_since)
    assert is_answered(row, known) == answers(result, want)


def test_a_wanted_row_has_what_an_upload_row_says() -> None:
    row = an_upload_row(PHONES[0], round_=2, again=True)
    wanted = wanted_row(encode(row), timestamp_ms=ms(NOW))
    assert wanted._replace(published_ms=0)._asdict() == {
        name: getattr(row, name) for name in WantedRow._fields if name != "published_ms"
    } | {"published_ms": 0}
    bare = encode(row.model_copy(update={"round": 0, "again": False}))
    for given_default in (b',"round":0', b',"again":false', b',"priority":3'):
        bare = bare.replace(given_default, b"")
    assert wanted_row(bare, timestamp_ms=ms(NOW)) == wanted._replace(round=0, again=False)


def test_a_request_says_its_times_in_utc_whatever_the_row_did() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=9)))
    (request,) = requests_for([a_row()._replace(wanted_at=elsewhere)], known={}, sent=SentKeys(10))
    assert (request.wanted_at, request.wanted_at.tzinfo) == (NOW, UTC)


@pytest.mark.parametrize(
    "value",
    [
        encode(an_upload_row(PHONES[0])).replace(upload_id("u1").encode(), b"bad id with blanks"),
        encode(an_upload_row(PHONES[0])).replace(b'["Jane Example"', b"[1,null"),
        encode(an_upload_row(PHONES[0])).replace(b'"local"', b'"' + b"x" * 201 + b'"'),
        encode(an_upload_row(PHONES[0], wanted_at=datetime(2099, 1, 1, tzinfo=UTC))),
        encode(an_upload_row(PHONES[0])).replace(b'"row":1', b'"row":100000000000000000000'),
        encode(an_upload_row(PHONES[0])).replace(b'"round":0', b'"round":2147483648'),
        encode(an_upload_row(PHONES[0])).replace(b'"cells":[', b'"cells":["' + b"x" * 1_000_000 + b'",'),
        None,
        b"",
    ],
)
def test_what_the_join_refuses_is_not_wanted(value: bytes | None) -> None:
    with pytest.raises(UndecodableRecord):
        wanted_row(value, timestamp_ms=ms(NOW))


@given(st.lists(st.sampled_from("abcdefgh"), max_size=60), st.integers(1, 5))
def test_the_memory_of_sent_keys_holds_the_last_ones_and_stays_bounded(keys: list[str], limit: int) -> None:
    sent = SentKeys(limit)
    for key in keys:
        sent.add([key])
        assert len(sent) < 2 * limit + 1
    assert all(key in sent for key in keys[-limit:])
    assert all((key in sent) <= (key in keys) for key in "abcdefghi")

"""What is kept of a phone's results: the same whatever the order they are read in, however often."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import UndecodableRecord, decode, encode
from schemas.values import EARLIEST
from services.lookup.worker.known_phones import MOST_FAILURES, Erasure, KnownPhone, PhoneUpdate, update_of, updated
from tests.fixtures.ids import upload_id
from tests.unit.lookup.gate.requests import phone
from tests.unit.lookup.worker.worker_parts import NOW, a_result, ms, result_record

PHONE = phone(1)


def news(outcome: str, hours: int, uploads: list[tuple[str, int]]) -> PhoneUpdate | None:
    result = a_result(
        PHONE,
        outcome=outcome,  # type: ignore[arg-type]  # Hypothesis draws plain strings
        looked_up_at=NOW + timedelta(hours=hours),
        answers=uploads,
    )
    record = result_record(result, partition=0, recorded_at=NOW + timedelta(hours=hours))
    return update_of(record.key, record.value, timestamp_ms=record.timestamp)[1]


results = st.builds(
    news,
    st.sampled_from(["ok", "not_valid", "failed"]),
    st.integers(0, 50),
    st.lists(st.tuples(st.integers(0, 40).map(str), st.integers(0, 3)), max_size=4),
)


def folded(heard: list[PhoneUpdate | None]) -> KnownPhone | None:
    known = None
    for each in heard:
        known = known if each is None else updated(known, each)
    return known


@given(st.data(), st.lists(results, max_size=30))
def test_the_order_of_reading_and_reading_twice_make_no_difference(
    data: st.DataObject, heard: list[PhoneUpdate | None]
) -> None:
    again = data.draw(st.permutations(heard + data.draw(st.permutations(heard))))
    assert folded(again) == folded(heard)


@given(st.lists(results, max_size=40))
def test_what_is_kept_is_bounded_and_comes_back_from_the_changelog_as_it_was(heard: list[PhoneUpdate | None]) -> None:
    known = folded(heard)
    if known is None:
        assert all(each is None for each in heard)
        return
    assert len(known.failures) <= MOST_FAILURES
    assert len(encode(known)) < 2_000
    assert decode(KnownPhone, encode(known)) == known
    assert known.has_data == any(isinstance(each, KnownPhone) and each.has_data for each in heard)


def test_the_newest_failures_stay() -> None:
    many = folded([news("failed", hour, [(str(hour), 0)]) for hour in range(MOST_FAILURES + 5)])
    assert many is not None
    assert [each.upload_id for each in many.failures] == [upload_id(str(hour)) for hour in range(5, MOST_FAILURES + 5)]


def test_a_failure_leaves_data_as_they_are_and_data_leave_failures() -> None:
    known = folded([news("ok", 1, []), news("failed", 2, [("a", 0)]), news("not_valid", 3, [])])
    assert known is not None
    assert (known.outcome, known.looked_up_at) == ("not_valid", NOW + timedelta(hours=3))
    assert [each.upload_id for each in known.failures] == [upload_id("a")]


def test_a_value_of_before_failures_were_kept_is_read_and_one_with_failures_alone_is_never_fresh_to_such_a_worker() -> (
    None
):
    old = decode(KnownPhone, b'{"looked_up_at":"2026-01-01T00:00:00Z","outcome":"ok"}')
    assert old == KnownPhone(looked_up_at=NOW, outcome="ok")
    alone = folded([news("failed", 2, [("a", 0)])])
    assert alone is not None
    assert (alone.looked_up_at, alone.outcome) == (EARLIEST, "failed")


def test_a_failure_that_names_nobody_is_not_kept() -> None:
    assert news("failed", 1, []) is None


def test_an_erased_phone_is_gone_and_erased_failures_leave_its_data() -> None:
    both = folded([news("ok", 1, []), news("failed", 2, [("a", 0)])])
    assert updated(both, Erasure.EVERYTHING) is None
    assert updated(both, Erasure.FAILURES) == folded([news("ok", 1, [])])
    assert updated(folded([news("failed", 2, [("a", 0)])]), Erasure.FAILURES) is None
    assert updated(None, Erasure.FAILURES) is None


def test_a_null_record_erases_what_its_key_names() -> None:
    assert update_of(PHONE.encode(), None, timestamp_ms=ms(NOW)) == (PHONE, Erasure.EVERYTHING)
    assert update_of(f"{PHONE}|failed".encode(), None, timestamp_ms=ms(NOW)) == (PHONE, Erasure.FAILURES)


@pytest.mark.parametrize(
    "key",
    [
        None,
        b"",
        b"\xff\xfe",
        b"__faust\0offset__",
        PHONE.encode() + b"\0",
        PHONE.encode() + b"\n",
        PHONE.encode() + b"|failed|failed",
        b"+" + b"1" * 1_000_000,
        "+١٤١٥٥٥٥٠١٠٠".encode(),
        b"|failed",
    ],
)
def test_a_null_record_with_any_other_key_is_undecodable(key: bytes | None) -> None:
    """`__faust\\0offset__` is where the table itself keeps how far it has come."""
    with pytest.raises(UndecodableRecord):
        update_of(key, None, timestamp_ms=ms(NOW))


@given(st.binary(max_size=40) | st.none(), st.binary(max_size=200) | st.none(), st.integers(-1, 2**63 - 1))
def test_whatever_the_bytes_are_the_outcome_is_news_or_an_undecodable_record(
    key: bytes | None, value: bytes | None, timestamp_ms: int
) -> None:
    try:
        of, _ = update_of(key, value, timestamp_ms=timestamp_ms)
    except UndecodableRecord:
        return
    assert of.startswith("+")

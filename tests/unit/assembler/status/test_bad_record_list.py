"""The list of records put aside: newest first, each once per role, without what was tried again, never too long."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from schemas.parts import Role
from schemas.rows import BadRecord
from services.assembler.status.bad_record_list import BadRecordFilter, BadRecordList, ListedBadRecord, NotePosition

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


def bad(offset: int, *, role: Role = "join", seconds: int = 0, retried: bool = False) -> BadRecord:
    at = NOW + timedelta(seconds=seconds)
    return BadRecord(
        topic="upload-rows",
        partition=1,
        offset=offset,
        error="not a UploadRow",
        key=None,
        value=None,
        seen_by="join-1",
        at=at,
        role=role,
        bytes=12,
        retried_at=at if retried else None,
    )


def listed(*records: BadRecord, most: int = 100) -> BadRecordList:
    held = BadRecordList(most)
    for n, record in enumerate(records):
        held.take(record, topic="upload-rows", note=NotePosition(0, n))
    return held


def offsets(found: list[ListedBadRecord]) -> list[int]:
    return [one.position.offset for one in found]


def test_the_newest_come_first_and_pages_lose_nothing() -> None:
    held = listed(bad(1, seconds=5), bad(2, seconds=9), bad(3, seconds=5), bad(4))
    everything = held.newest_first(BadRecordFilter())
    assert offsets(everything) == [2, 3, 1, 4]
    paged: list[ListedBadRecord] = []
    while page := held.newest_first(BadRecordFilter(), after=paged[-1].order if paged else None, limit=1):
        paged += page
    assert paged == everything


def test_a_record_stands_once_for_each_role_that_put_it_aside() -> None:
    held = listed(bad(1), bad(1), bad(1, role="worker", seconds=1))
    assert [one.role for one in held.newest_first(BadRecordFilter())] == ["worker", "join"]
    assert held.counts() == {("join", "undecodable"): 1, ("worker", "undecodable"): 1}


def test_what_was_tried_again_is_off_the_list_whatever_is_read_first() -> None:
    for records in (
        (bad(1), bad(1, role="worker"), bad(2), bad(1, role="status", retried=True)),
        (bad(1, role="status", retried=True), bad(1), bad(2), bad(1, role="worker")),
    ):
        assert offsets(listed(*records).newest_first(BadRecordFilter())) == [2]


def test_filters_are_joined_by_and() -> None:
    held = listed(bad(1), bad(2), bad(2, role="worker"))
    assert offsets(held.newest_first(BadRecordFilter(role="join", offset=2))) == [2]
    assert held.newest_first(BadRecordFilter(topic="upload-events")) == []
    assert held.newest_first(BadRecordFilter(reason="failed")) == []


@given(st.lists(st.integers(0, 40), max_size=100))
def test_it_never_holds_more_than_it_may_and_says_what_it_dropped(numbers: list[int]) -> None:
    held = listed(*(bad(number) for number in numbers), most=10)
    assert len(held.newest_first(BadRecordFilter())) == min(10, len(set(numbers)))
    assert (held.dropped > 0) == (len(set(numbers)) > 10)

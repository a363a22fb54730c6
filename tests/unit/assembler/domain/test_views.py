"""What is stored and what a gate says can be shown, whatever it is: the views have no input that they fail on."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, get_args

from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import UndecodableRecord, decode, encode
from schemas.lookups import LookupStatus
from schemas.parts import PartStatus
from schemas.settings import Settings
from schemas.topics import LOOKUP_STATUS, PART_STATUS
from schemas.uploads import Counts, UploadState
from services.assembler.domain.stored import StoredUpload
from services.assembler.domain.views import REFUSED, upload_view
from services.assembler.status.eta import Feeding, eta_of
from services.assembler.status.liveness import part_view
from services.assembler.status.why import SystemStatus, why_of
from tests.fixtures.hostile import examples_of, hostile_records
from tests.fixtures.ids import upload_id

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
NUMBERS = st.integers(-(2**63), 2**63 - 1)
TIMES = st.none() | st.datetimes(datetime(1970, 1, 1), datetime(2190, 1, 1), timezones=st.just(UTC))
STORED_JSON = st.sampled_from(
    [None, "{}", "[]", '{"phone_columns":[100000000000000000000]}', '{"format":"csv","columns":7}', '{"code":""}']
)
SETTINGS = Settings()


def stored(drawn: dict[str, Any]) -> StoredUpload:
    """An upload of which nothing is known but what was drawn."""
    nothing: dict[str, Any] = {field.name: None for field in fields(StoredUpload)}
    counted = dict.fromkeys(("waiting", "answered", "failed", "rejected", "unprocessed", "calls", "retries"), 0)
    known = {"no": 1, "id": upload_id("u"), "created_at": NOW, "owner": "ann", "priority": 3, "round": 0}
    flags = {"paused": False, "rows_missing": False, "state": "in_progress", "verdicts": {}, "line_types": {}}
    return StoredUpload(**nothing | counted | known | flags | drawn)


COUNTS = st.fixed_dictionaries(
    dict.fromkeys(("waiting", "answered", "failed", "rejected", "unprocessed", "calls", "retries"), NUMBERS)
)
FACTS = st.fixed_dictionaries(
    dict.fromkeys(("options", "detected", "preview", "refused"), STORED_JSON)
    | dict.fromkeys(("wanted_at", "finished_at", "cancelled_at", "fed_at"), TIMES)
    | {name: st.integers(0, 2**31 - 1) for name in ("plan_rows", "plan_usable", "plan_distinct", "plan_known")}
    | {
        "state": st.sampled_from(get_args(UploadState)),
        "name": st.text(max_size=300).filter(lambda text: "\0" not in text),
    }
)


@given(COUNTS, FACTS)
def test_an_upload_can_be_shown_whatever_is_stored_of_it(counts: dict[str, int], facts: dict[str, Any]) -> None:
    shown = upload_view(stored(counts | facts), settings=SETTINGS)
    assert encode(shown)
    assert all(0 <= count < 2**31 for count in shown.counts.model_dump().values())


def test_what_an_earlier_version_stored_gives_way_to_what_is_known_today() -> None:
    shown = upload_view(
        stored({"options": '{"phone_columns":[100000000000000000000]}', "refused": "{}"}), settings=SETTINGS
    )
    assert shown.options.phone_columns == ()
    assert shown.error == REFUSED


def test_more_distinct_phones_than_rows_are_no_duplicates() -> None:
    shown = upload_view(stored({"plan_usable": 1, "plan_distinct": 9, "plan_rows": 1}), settings=SETTINGS)
    assert shown.counts.duplicates == 0


def test_whatever_a_gate_says_there_is_a_time_left_or_none_and_a_reason_or_none() -> None:
    taken = 0
    for record in hostile_records(LOOKUP_STATUS):
        try:
            status = decode(LookupStatus, record.value, timestamp_ms=int(NOW.timestamp() * 1000))
        except UndecodableRecord:
            continue
        taken += 1
        for uid in (upload_id("u"), *(lane.upload_id for lane in status.lanes[:2])):
            feedings = {upload_id("u"): Feeding(unfed_rows=2**31 - 1, usable_rows=1, planned_calls=2**31 - 1)}
            eta_of(uid, status, feedings, now=NOW)
            why_of(uid, "in_progress", Counts(waiting=1), SystemStatus.of(status, ()), fed=False, now=NOW)
    assert taken > 10


@given(st.floats(0, 1e12), st.floats(0, 1), st.integers(0, 2**31 - 1))
def test_the_time_left_is_a_time_that_calendars_have(pace: float, share: float, pending: int) -> None:
    status = a_status()
    lane = status.lanes[0].model_copy(update={"share": share, "pending": pending})
    status = status.model_copy(
        update={"pace_per_second": pace, "lanes": (lane,), "state": "running", "pending": pending}
    )
    eta = eta_of(lane.upload_id, status, {}, now=NOW)
    assert eta is None or eta.to < NOW + timedelta(days=800)


@cache
def a_status() -> LookupStatus:
    """The contract's own example of one that has lanes."""
    found = [LookupStatus.model_validate(example) for example in examples_of(LOOKUP_STATUS).values()]
    return next(status for status in found if status.lanes)


def test_whatever_a_part_says_of_itself_can_be_shown() -> None:
    taken = 0
    for record in hostile_records(PART_STATUS):
        try:
            part = decode(PartStatus, record.value, timestamp_ms=int(NOW.timestamp() * 1000))
        except UndecodableRecord:
            continue
        assert encode(part_view(part, NOW))
        taken += 1
    assert taken > 10

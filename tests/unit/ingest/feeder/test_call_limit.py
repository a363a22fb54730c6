"""Uploads that could not be finished before their data expires."""

from schemas.settings import Settings
from schemas.uploads import FileCounts
from services.ingest.feeder.call_limit import exceeds_call_limit, most_calls, too_many_calls
from services.ingest.feeder.upload_state import JoinCounts, opened_upload
from tests.unit.ingest.builders import opened

SIX_DAYS = Settings(keep_days=6)
ONE_DAY_OF_CALLS = 864_000


def counts(distinct: int) -> FileCounts:
    return FileCounts(rows=distinct, with_phone=distinct, usable=distinct, split=0, distinct=distinct)


def test_the_limit_is_what_the_rate_allows_in_the_days_kept_less_five() -> None:
    assert most_calls(SIX_DAYS) == ONE_DAY_OF_CALLS
    assert f"{ONE_DAY_OF_CALLS:,}" in too_many_calls(SIX_DAYS).detail


def test_known_phones_and_caps_cost_nothing() -> None:
    upload = opened_upload(opened(), offset=0)
    too_many = counts(ONE_DAY_OF_CALLS + 10)
    assert exceeds_call_limit(upload, counts(ONE_DAY_OF_CALLS), JoinCounts(), settings=SIX_DAYS) is False
    assert exceeds_call_limit(upload, too_many, JoinCounts(), settings=SIX_DAYS) is None
    assert exceeds_call_limit(upload, too_many, JoinCounts(known=9), settings=SIX_DAYS) is True
    assert exceeds_call_limit(upload, too_many, JoinCounts(known=10), settings=SIX_DAYS) is False
    capped = opened_upload(opened(max_calls=5), offset=0)
    assert exceeds_call_limit(capped, too_many, JoinCounts(known=0), settings=SIX_DAYS) is False

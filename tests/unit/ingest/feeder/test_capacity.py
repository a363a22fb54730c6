"""Uploads that could not be finished before their data expires."""

from schemas.settings import Settings
from schemas.uploads import FileCounts
from services.ingest.feeder.capacity import is_too_much, most_calls, too_many_calls
from services.ingest.feeder.upload_state import Settled, open_case
from tests.unit.ingest.builders import opened

SIX_DAYS = Settings(keep_days=6)
ONE_DAY_OF_CALLS = 864_000


def counts(distinct: int) -> FileCounts:
    return FileCounts(rows=distinct, with_phone=distinct, usable=distinct, split=0, distinct=distinct)


def test_the_limit_is_what_the_rate_allows_in_the_days_kept_less_five() -> None:
    assert most_calls(SIX_DAYS) == ONE_DAY_OF_CALLS
    assert f"{ONE_DAY_OF_CALLS:,}" in too_many_calls(SIX_DAYS).detail


def test_known_phones_and_caps_cost_nothing() -> None:
    case = open_case(opened(), offset=0)
    too_many = counts(ONE_DAY_OF_CALLS + 10)
    assert is_too_much(case, counts(ONE_DAY_OF_CALLS), Settled(), settings=SIX_DAYS) is False
    assert is_too_much(case, too_many, Settled(), settings=SIX_DAYS) is None
    assert is_too_much(case, too_many, Settled(known=9), settings=SIX_DAYS) is True
    assert is_too_much(case, too_many, Settled(known=10), settings=SIX_DAYS) is False
    capped = open_case(opened(max_calls=5), offset=0)
    assert is_too_much(capped, too_many, Settled(known=0), settings=SIX_DAYS) is False

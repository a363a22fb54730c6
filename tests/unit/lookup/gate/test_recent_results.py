"""Results are remembered for an hour of the log, erasures too."""

from schemas.lookups import LookupResult
from services.lookup.gate.recent_results import KEPT_MS, RecentResults
from tests.unit.lookup.gate.requests import NOW, phone

START_MS = 1_800_000_000_000
MINUTE_MS = 60_000


def result(number: int) -> LookupResult:
    return LookupResult(phone=phone(number), outcome="not_valid", provider="generic", looked_up_at=NOW, attempts=1)


def test_a_result_is_dropped_an_hour_later() -> None:
    recent = RecentResults()
    recent.remember(result(1), START_MS)
    recent.remember(result(2), START_MS + KEPT_MS)
    assert recent.of(phone(1))
    recent.remember(result(3), START_MS + KEPT_MS + 1)
    assert not recent.of(phone(1))
    assert len(recent) == 2


def test_a_result_that_was_erased_is_no_trouble_an_hour_later() -> None:
    recent = RecentResults()
    recent.remember(result(1), START_MS)
    recent.erase(phone(1), failures=False, at_ms=START_MS)
    recent.remember(result(2), START_MS + KEPT_MS + 1)
    assert [bool(recent.of(phone(number))) for number in (1, 2)] == [False, True]


def test_an_erasure_is_dropped_an_hour_later_though_an_older_one_was_repeated() -> None:
    recent = RecentResults()
    recent.erase(phone(1), failures=False, at_ms=START_MS)
    recent.erase(phone(2), failures=False, at_ms=START_MS + MINUTE_MS)
    recent.erase(phone(1), failures=False, at_ms=START_MS + 2 * MINUTE_MS)
    recent.remember(result(3), START_MS + KEPT_MS + 2 * MINUTE_MS)
    assert [recent.was_erased(phone(number), since_ms=START_MS) for number in (1, 2)] == [True, False]


def test_a_phone_that_was_never_erased_counts_as_erased_at_no_time() -> None:
    assert not RecentResults().was_erased(phone(1), since_ms=0)

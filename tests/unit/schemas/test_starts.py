"""How old an answer may be is counted from the start, within what a message can hold."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from schemas.starts import accept_since_of
from schemas.values import EARLIEST, LATEST, LONGEST_MAX_AGE_SECONDS

START = datetime(2026, 3, 1, 9, tzinfo=UTC)
DAY = 86_400


def test_the_uploads_own_age_wins_over_the_setting() -> None:
    assert accept_since_of(START, chosen_seconds=DAY, default_seconds=30 * DAY) == START - timedelta(days=1)
    assert accept_since_of(START, chosen_seconds=None, default_seconds=30 * DAY) == START - timedelta(days=30)
    assert accept_since_of(START, chosen_seconds=0, default_seconds=30 * DAY) == START


def test_what_an_older_version_stored_is_cut_to_what_is_allowed_now() -> None:
    longest = START - timedelta(seconds=LONGEST_MAX_AGE_SECONDS)
    assert accept_since_of(START, chosen_seconds=10**11, default_seconds=DAY) == longest
    assert accept_since_of(START, chosen_seconds=None, default_seconds=10**11) == longest


@given(
    st.datetimes(EARLIEST.replace(tzinfo=None), LATEST.replace(tzinfo=None), timezones=st.just(UTC)),
    st.none() | st.integers(0, 10**18),
    st.integers(0, 10**18),
)
def test_whatever_is_stored_the_time_fits_a_message(start: datetime, chosen: int | None, default: int) -> None:
    assert EARLIEST <= accept_since_of(start, chosen_seconds=chosen, default_seconds=default) <= start

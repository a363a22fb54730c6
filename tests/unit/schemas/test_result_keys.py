"""The key of a result can be read back, and nothing else is taken for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.lookups import ResultKey, failure_key, parse_result_key

PHONE = "+14155550100"
PHONES = st.from_regex(r"\+[1-9][0-9]{3,14}", fullmatch=True)


@given(PHONES)
def test_what_was_made_is_read_back(phone: str) -> None:
    assert parse_result_key(phone) == ResultKey(phone, is_failure=False)
    assert parse_result_key(failure_key(phone)) == ResultKey(phone, is_failure=True)
    assert parse_result_key(failure_key(phone).encode()) == ResultKey(phone, is_failure=True)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "|failed",
        "14155550100",
        f"{PHONE}|",
        f"{PHONE}|failed|failed",
        f"{PHONE}\n",
        f"{PHONE}|failed\n",
        "+1415555010٠",
        "+123",
        "+1234567890123456",
        "+" + "1" * 100_000,
    ],
)
def test_anything_else_is_none(key: str) -> None:
    assert parse_result_key(key) is None
    assert parse_result_key(key.encode()) is None


@given(st.none() | st.binary(max_size=40))
def test_bytes_that_are_no_text_are_none(key: bytes | None) -> None:
    found = parse_result_key(key)
    assert found is None or (failure_key(found.phone) if found.is_failure else found.phone).encode() == key

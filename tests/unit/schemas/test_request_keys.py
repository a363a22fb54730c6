"""The key of a request can be read back, and nothing else is taken for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.lookups import RequestKey, parse_request_key, request_key
from schemas.values import MAX_INT32
from tests.fixtures.ids import upload_id

PHONE = "+14155550100"


@given(
    phone=st.from_regex(r"\+[1-9][0-9]{3,14}", fullmatch=True),
    name=st.text(max_size=5),
    round_=st.integers(0, MAX_INT32),
)
def test_what_was_made_is_read_back(phone: str, name: str, round_: int) -> None:
    key = request_key(phone, upload_id(name), round_)
    assert parse_request_key(key) == RequestKey(phone, upload_id(name), round_)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "::",
        f"{PHONE}:{upload_id('u1')}",
        f"{PHONE}:{upload_id('u1')}:",
        f"{PHONE}:{upload_id('u1')}:-1",
        f"{PHONE}:{upload_id('u1')}:01",
        f"{PHONE}:{upload_id('u1')}:{MAX_INT32 + 1}",
        f"{PHONE}:{upload_id('u1')}:{'9' * 5_000}",
        f"{PHONE}:{upload_id('u1').upper()}:0",
        f"{PHONE}:u1:0",
        f"{PHONE}:{upload_id('u1')}:0\n",
        f"{PHONE}:{upload_id('u1')}:٣",
        f"+1:{upload_id('u1')}:0",
        "\x00",
    ],
)
def test_what_was_never_made_is_no_key(key: str) -> None:
    assert parse_request_key(key) is None


@given(key=st.text(max_size=80))
def test_no_text_raises(key: str) -> None:
    parsed = parse_request_key(key)
    assert parsed is None or request_key(*parsed) == key

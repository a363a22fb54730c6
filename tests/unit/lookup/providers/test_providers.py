"""What the generic lookup API is asked, and what each of its answers means."""

import json
import sys
from datetime import UTC, datetime
from types import ModuleType
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.lookups import PhoneData
from schemas.settings import Settings
from services.lookup.providers.generic import GenericProvider
from services.lookup.providers.protocol import AccountProblem, Found, HttpResponse, NotValid, Wait
from services.lookup.providers.registry import UnusableUrl, adapter, make_provider

AT = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
PHONE = "+14155550100"
PROVIDER = GenericProvider(url="http://api.test/lookup", key="secret")


def response(body: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> HttpResponse:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpResponse(status, headers or {}, raw, received_at=AT)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://api.test/lookup", "http://api.test/lookup?phone=%2B14155550100"),
        ("http://api.test/lookup?v=2", "http://api.test/lookup?v=2&phone=%2B14155550100"),
        ("http://api.test/{phone}/info", "http://api.test/%2B14155550100/info"),
    ],
)
def test_the_phone_is_percent_encoded(url: str, expected: str) -> None:
    assert GenericProvider(url=url, key=None).build_request("+14155550100").url == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.test/lookup",
        "ftp://api.test",
        "http://",
        "http://api.test:x",
        "http://[::",
        "http://xn--/",
        "http://xn--a.test/lookup",
        "http://" + "a" * 64 + ".test/",
        "http://a..b/",
        "http://☃☃.x/",
        "http://h\x00/",
    ],
)
def test_an_address_that_cannot_be_called_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(UnusableUrl, match="SCRUB_LOOKUP_URL"):
        make_provider(Settings(lookup_url=url))


@pytest.mark.parametrize("name", get_args(Settings.model_fields["provider"].annotation))
def test_each_choice_of_the_settings_has_its_adapter(name: str) -> None:
    make = adapter(name)
    assert make.__module__ == f"services.lookup.providers.{name}"
    chosen = make_provider(Settings.model_validate({"provider": name, "lookup_url": "https://api.test/{phone}"}))
    assert isinstance(chosen, type(make(url="https://api.test", key=None)))


def test_the_settings_choose_the_adapter(monkeypatch: pytest.MonkeyPatch) -> None:
    other = ModuleType("services.lookup.providers.other")
    vars(other)["make"] = lambda *, url, key: GenericProvider(url=f"{url}/other", key=key)
    monkeypatch.setitem(sys.modules, other.__name__, other)
    settings = Settings(lookup_url="https://api.test").model_copy(update={"provider": "other"})
    assert make_provider(settings).build_request("+1").url.startswith("https://api.test/other?")


def test_the_key_is_a_bearer_token() -> None:
    assert PROVIDER.build_request("+14155550100").headers["authorization"] == "Bearer secret"
    assert "authorization" not in GenericProvider(url="http://api.test", key=None).build_request("+1").headers


def test_a_full_answer() -> None:
    body = {
        "phone": "+14155550100",
        "valid": True,
        "line_type": "mobile",
        "carrier": "Example Wireless",
        "country": "US",
        "reachable": True,
        "do_not_call": False,
    }
    expected = PhoneData(
        line_type="mobile", carrier="Example Wireless", country="US", reachable="yes", do_not_call="no"
    )
    assert PROVIDER.read_response(PHONE, response(body)) == Found(expected)


def test_any_field_but_valid_may_be_missing_or_null() -> None:
    assert PROVIDER.read_response(PHONE, response({"valid": True})) == Found(PhoneData())
    nulls = dict.fromkeys(("line_type", "carrier", "country", "reachable", "do_not_call"))
    assert PROVIDER.read_response(PHONE, response({"valid": True} | nulls)) == Found(PhoneData())


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("Mobile", "mobile"),
        ("fixed-line", "landline"),
        ("NonFixed VoIP", "voip"),
        ("unknown", "unknown"),
        ("satellite", "other"),
        ("", "unknown"),
        (7, "unknown"),
        ("toll free", "toll_free"),
    ],
)
def test_line_types_are_understood_leniently(theirs: object, ours: str) -> None:
    reply = PROVIDER.read_response(PHONE, response({"valid": True, "line_type": theirs}))
    assert isinstance(reply, Found)
    assert reply.data.line_type == ours


def test_text_that_cannot_be_stored_everywhere_is_cleaned() -> None:
    reply = PROVIDER.read_response(PHONE, response(b'{"valid":true,"carrier":" a\\u0000b\\ud800 ","country":"us"}'))
    assert reply == Found(PhoneData(carrier="ab", country="US"))


def test_not_valid_is_an_answer() -> None:
    assert PROVIDER.read_response(PHONE, response({"valid": False})) == NotValid()


@pytest.mark.parametrize("body", [b"<html>", b"", b"[]", b"{}", b'{"valid":"yes"}', b"\xff\xfe", b"[" * 60_000])
def test_what_is_not_of_its_shape_is_tried_again(body: bytes) -> None:
    reply = PROVIDER.read_response(PHONE, response(body))
    assert isinstance(reply, Wait)
    assert reply.code == "garbage"


@given(body=st.binary(max_size=200), status=st.integers(100, 599), after=st.text(max_size=40))
def test_no_response_at_all_raises(body: bytes, status: int, after: str) -> None:
    reply = PROVIDER.read_response(PHONE, response(body, status=status, headers={"retry-after": after}))
    assert isinstance(reply, Found | NotValid | Wait | AccountProblem)


@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_refused_account_is_nobodys_phones_fault(status: int) -> None:
    assert isinstance(PROVIDER.read_response(PHONE, response(b"", status=status)), AccountProblem)


@pytest.mark.parametrize("status", [301, 400, 404, 408, 500, 502, 503, 504])
def test_other_statuses_are_tried_again(status: int) -> None:
    reply = PROVIDER.read_response(PHONE, response(b"", status=status))
    assert isinstance(reply, Wait)
    assert not reply.throttled


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("3", 3.0),
        ("Thu, 01 Jan 2026 12:00:30 GMT", 30.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("-1", None),
        ("", None),
        ("9" * 400, 3600.0),
        ("7200", 3600.0),
        ("Fri, 01 Jan 2199 00:00:00 GMT", 3600.0),
        ("Mon, 01 Jan 2024 00:00:00 +99999999999999999", None),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 -2359", 3600.0),
        ("Mon, 01 Jan 99999999 00:00:00 GMT", None),
        ("1e400", None),
        ("\u0663", None),
        ("\x00", None),
        ("," * 60_000, None),
    ],
)
def test_retry_after_in_seconds_or_as_a_date(header: str, seconds: float | None) -> None:
    reply = PROVIDER.read_response(PHONE, response(b"", status=429, headers={"retry-after": header}))
    assert isinstance(reply, Wait)
    assert reply.throttled
    assert reply.retry_after_seconds == seconds

"""Where a person is led after signing in, and which host examples name: nothing of it may be a phone."""

import re
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.ids import idempotent_upload_id, new_upload_id
from services.assembler.status.pages.own_pages import own_origin, own_page

ID = "019b8f6c-2a10-7c3e-9d41-5b6f00a1c2d3"


@pytest.mark.parametrize(
    "address",
    [
        "/",
        "/?show=completed",
        "/admin",
        "/docs",
        f"/uploads/{ID}",
        f"/uploads/{ID}?state=failed,rejected&verdict=ok&line_type=mobile&limit=1000",
        f"/uploads/{ID}/check",
        f"/uploads/{ID}/check?open=1",
    ],
)
def test_a_page_of_ours_is_kept_as_it_is(address: str) -> None:
    assert own_page(address) == address


def test_every_id_that_we_make_is_one_of_ours() -> None:
    for upload_id in (new_upload_id(now_ms=1_767_600_000_000), idempotent_upload_id("ann", "key")):
        assert own_page(f"/uploads/{upload_id}") == f"/uploads/{upload_id}"


@pytest.mark.parametrize(
    ("address", "led_to"),
    [
        ("", "/"),
        ("//evil.example", "/"),
        ("//[", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example/admin", "/"),
        ("javascript:alert(1)", "/"),
        ("/admin/pause", "/"),
        ("/admin\n", "/"),
        ("/sign-in?next=/sign-in", "/"),
        ("/4155550142", "/"),
        ("/uploads/4155550142", "/"),
        ("/uploads/list-of-415-555-0142/check", "/"),
        (f"/uploads/{ID.upper()}", "/"),
        (f"/uploads/{ID}/4155550142", "/"),
        ("/?show=4155550142&cursor=4155550142&said=4155550142", "/"),
        ("/admin?audit=NDE1NTU1MDE0Mg&4155550142", "/admin"),
        ("/docs#4155550142", "/docs"),
        (f"/uploads/{ID}?state=failed&cursor=NDE1&limit=4155550142#rows", f"/uploads/{ID}?state=failed"),
        (f"/uploads/{ID}?state=failed,4155550142&limit=50", f"/uploads/{ID}?limit=50"),
        (f"/uploads/{ID}?limit=415&limit=555", f"/uploads/{ID}?limit=555"),
        (f"/uploads/{ID}/check?open=4155550142", f"/uploads/{ID}/check"),
    ],
)
def test_what_no_page_of_ours_has_is_left_out(address: str, led_to: str) -> None:
    assert own_page(address) == led_to


_MARKS = ("/", "//", "\\", "?", "&", "=", ",", "#", "%2F", "%34", "evil.example", "https:")
_PAGES = ("/uploads", f"/uploads/{ID}", "/check", "/admin", "/docs")
_QUERY = ("show", "state", "limit", "open", "cursor", "failed", "completed", "1", "555")
_PIECES = st.one_of(
    st.sampled_from((*_MARKS, *_PAGES, *_QUERY)),
    st.integers(min_value=10**6, max_value=10**14).map(str),
    st.text(max_size=4),
)


@given(address=st.one_of(st.lists(_PIECES, max_size=14).map("".join), st.text()))
@example(address=f"/uploads/{ID}?limit=%34%31%35&state=4155550142")
def test_no_phone_and_no_other_origin_comes_through(address: str) -> None:
    led_to = own_page(address)
    assert len(re.findall(r"\d", led_to.replace(ID, ""))) < 7
    assert urlsplit(urljoin("https://ours.example/sign-in", led_to)).netloc == "ours.example"
    assert own_page(led_to) == led_to


@pytest.mark.parametrize(
    "host", ["localhost:8000", "127.0.0.1:54321", "192.168.100.200", "[::1]:8000", "scrub2.eu-west-1.example:443"]
)
def test_examples_name_the_host_that_was_asked(host: str) -> None:
    assert own_origin("http", host) == f"http://{host}"


@pytest.mark.parametrize(
    "host", ["", "4155550142", "4155550142.example", "415.555.0142:80", "a/4155550142", "a:4155550142", "a b", "a\n"]
)
def test_examples_name_no_host_that_may_be_a_phone(host: str) -> None:
    assert own_origin("https", host) == "https://HOST"

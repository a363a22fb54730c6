"""Bodies taken apart as they arrive, however they are cut on the way."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.http.bodies import FieldRead, FileBegan, FileData, UnreadableBody, form_events

BOUNDARY = "----scrub"
CONTENT_TYPE = f'multipart/form-data; boundary="{BOUNDARY}"'


def form(*parts: tuple[str, bytes], closed: bool = True) -> bytes:
    body = b""
    for disposition, content in parts:
        body += f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode() + content + b"\r\n"
    return body + (f"--{BOUNDARY}--\r\n".encode() if closed else b"")


async def cut(body: bytes, sizes: list[int]) -> AsyncIterator[bytes]:
    for size in sizes:
        yield body[:size]
        body = body[size:]
    yield body


async def read(body: bytes, sizes: list[int] | None = None) -> tuple[dict[str, str], str, bytes]:
    fields: dict[str, str] = {}
    name, data = "", b""
    async for event in form_events(cut(body, sizes or []), CONTENT_TYPE):
        match event:
            case FieldRead(key, value):
                fields[key] = value
            case FileBegan(file_name):
                name = file_name
            case FileData(more):
                data += more
    return fields, name, data


@given(
    content=st.binary(max_size=400).filter(lambda c: BOUNDARY.encode() not in c),
    value=st.text(st.characters(exclude_categories=["Cs"]), max_size=20).filter(lambda v: BOUNDARY not in v),
    sizes=st.lists(st.integers(1, 60), max_size=12),
)
async def test_fields_and_file_survive_any_cutting(content: bytes, value: str, sizes: list[int]) -> None:
    body = form(('name="region"', value.encode()), ('name="file"; filename="a.csv"', content))
    assert await read(body, sizes) == ({"region": value}, "a.csv", content)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (form(('name="file"; filename="a.csv"', b"1"), closed=False), "missing"),
        (form(('name="file"; filename="a"', b"1"), ('name="file"; filename="b"', b"2")), "one file"),
        (form(('name="region"', b"x" * 20_000)), "over 10000 bytes"),
        (form(*(('name="region"', b"x") for _ in range(101))), "more than 100"),
        (b"this is no form", "cannot be read"),
        (b"", "missing"),
    ],
)
async def test_a_broken_form_says_what_is_wrong(body: bytes, reason: str) -> None:
    with pytest.raises(UnreadableBody, match=reason):
        await read(body)


HOSTILE_PIECES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [
            b"--" + BOUNDARY.encode(),
            b"\r\n",
            b"--",
            b"Content-Disposition: form-data; name=",
            b'"file"; filename="',
            b'"; name="start"',
            b"; filename*=utf-8''%ff",
            b"Content-Type: x\r\n",
            b"\r\n\r\n",
            b"\x00" * 20,
            b"x" * 20_000,
        ]
    ),
)


@given(body=st.lists(HOSTILE_PIECES, max_size=30).map(b"".join), sizes=st.lists(st.integers(1, 50), max_size=5))
async def test_any_body_is_read_or_refused(body: bytes, sizes: list[int]) -> None:
    try:
        fields, name, _ = await read(body, sizes)
    except UnreadableBody:
        return
    assert len(name) <= 200
    assert all(len(value) <= 10_000 for value in fields.values())


@given(st.text(st.characters(max_codepoint=255), max_size=300).map("multipart/form-data{}".format))
async def test_any_content_type_of_a_form_is_read_or_refused(content_type: str) -> None:
    async def none() -> AsyncIterator[bytes]:
        yield b""

    with pytest.raises(UnreadableBody):
        async for _ in form_events(none(), content_type):
            pass


@pytest.mark.parametrize(
    "body",
    [
        form((f'name="{"n" * 20_000}"', b"1")),
        form(('name="n"\r\nX: ' + "x" * 20_000, b"1")),
        form(('name="n"', b"1" * 20_000)),
        form(*[(f'name="n{number}"', b"1") for number in range(101)]),
    ],
)
async def test_nothing_of_a_form_but_the_file_is_long(body: bytes) -> None:
    with pytest.raises(UnreadableBody):
        await read(body)


async def test_a_boundary_is_short() -> None:
    with pytest.raises(UnreadableBody, match="boundary"):
        async for _ in form_events(cut(b"", []), "multipart/form-data; boundary=" + "b" * 5_000):
            pass
